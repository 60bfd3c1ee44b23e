"""The chat of the Channels tutorial, part 3: "Rewrite Chat Server as Asynchronous"."""
