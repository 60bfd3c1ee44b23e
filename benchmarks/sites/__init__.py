"""The Django sites that are measured; all share one database of users who are logged in."""
