"""Shared parts of the checks: hints for misspelled names, and imports."""

import difflib
from collections.abc import Iterator
from importlib.util import find_spec

from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string


def did_you_mean(key: object, known: list[str]) -> str:
    """The known name that resembles ``key`` most, or all of them."""
    by_upper = {name.upper(): name for name in known}
    wanted = str(key).upper()
    begins = [name for name in by_upper if len(wanted) > 3 and name.startswith(wanted)]
    for name in begins or difflib.get_close_matches(wanted, by_upper, n=1):
        return f"Did you mean {by_upper[name]!r}?"
    return f"Known are: {', '.join(known)}."


def check_callable(
    path: str, where: str, number: str, *, example: str = "mysite.rules.may_join"
) -> Iterator[CheckMessage]:
    """Check that the dotted ``path`` names a callable; ``example`` is one for the hint."""
    try:
        found = import_string(path)
        problem = f"expected something callable at {path!r}, got {found!r}"
        is_valid = callable(found)
    except Exception as error:
        problem, is_valid = f"expected a dotted path that imports, got {path!r} ({error})", False
    if not is_valid:
        yield Error(
            f"{where}: {problem}.",
            hint=f"Give the dotted path of a function, such as {example!r}.",
            id=f"pm_realtime.{number}",
        )


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
