"""A site with commands of its own."""
