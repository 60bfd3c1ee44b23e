"""A site that answers commands with a consumer of its own and pydantic."""
