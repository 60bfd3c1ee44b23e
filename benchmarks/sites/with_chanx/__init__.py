"""A site that answers commands with the handlers of Chanx."""
