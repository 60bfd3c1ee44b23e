"""A site with logged-in users, as in the Channels documentation."""
