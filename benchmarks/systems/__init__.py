"""The systems that are measured, each started and spoken to in its own way."""
