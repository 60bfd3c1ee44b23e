"""The Django sites that are measured. All share one database of logged-in users."""
