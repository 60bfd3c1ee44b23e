"""Checks whether the packages of a system are installed."""

from importlib.util import find_spec


def lacking(*modules: str) -> str:
    """The text of ``System.missing``: the modules that cannot be imported, or empty."""
    absent = [module for module in modules if find_spec(module) is None]
    if not absent:
        return ""
    return f"No {', '.join(absent)}: `pip install -e .[bench]` installs them."
