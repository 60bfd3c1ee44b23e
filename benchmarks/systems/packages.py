"""Whether the packages are there that a system is made of."""

from importlib.util import find_spec


def lacking(*modules: str) -> str:
    """What ``System.missing`` says where not all of ``modules`` can be imported."""
    absent = [module for module in modules if find_spec(module) is None]
    if not absent:
        return ""
    return f"No {', '.join(absent)}: `pip install -e .[bench]` brings them along."
