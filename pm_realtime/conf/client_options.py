"""The options of the browser client, in Python's spelling, and their valid values."""

import re
from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Any, Final
from uuid import UUID

from django.utils.functional import Promise

#: The name of a subprotocol by RFC 6455.
_SUBPROTOCOL_NAME: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)


def is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str | Promise)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_attempts(value: object) -> bool:
    return value == inf or (is_number(value) and isinstance(value, int))


def _is_delay(value: Any) -> bool:
    return is_number(value) and isfinite(value)


def _is_protocols(value: object) -> bool:
    names = [value] if isinstance(value, str) else value
    return (
        isinstance(names, list | tuple)
        and all(isinstance(name, str) and _SUBPROTOCOL_NAME.fullmatch(name) for name in names)
        and len(set(names)) == len(names)
    )


def _is_shared(value: object) -> bool:
    return isinstance(value, bool | int | UUID) or _is_text(value)


def _is_persist(value: object) -> bool:
    return value is False or (isinstance(value, str) and value in ("own", "all"))


#: By name: the valid values, in words and as a test.
CLIENT_OPTIONS: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "auto_connect": ("True or False", is_bool),
    "reconnect": ("True or False", is_bool),
    "max_reconnect_attempts": ("a whole number, or None for no end of them", _is_attempts),
    "reconnect_delay": ("a number of milliseconds", _is_delay),
    "url": ("an address or a path, as text", _is_text),
    "protocols": ("the name of a subprotocol or a list of different ones", _is_protocols),
    "shared": ("True, False, or the id of the page's user", _is_shared),
    "persist": ('"own", "all" or False', _is_persist),
    "debug": ("True or False", is_bool),
}


def is_given(name: str, value: object) -> bool:
    """Whether ``value`` is one: not None, nor the empty string of an undefined template variable.

    For ``max_reconnect_attempts``, None is a value: no limit.
    """
    return name == "max_reconnect_attempts" if value is None else value != ""


def describe_fault(options: Mapping[str, object]) -> str | None:
    """The first unknown or invalid option, with the valid ones, in words; None if all are valid."""
    for name, value in options.items():
        if name not in CLIENT_OPTIONS:
            return f"{name}; its options are {', '.join(sorted(CLIENT_OPTIONS))} and nonce."
        expected, is_valid = CLIENT_OPTIONS[name]
        if value is not None and is_given(name, value) and not is_valid(value):
            return f"{name}={value!r}; it must be {expected}."
    return None


def as_javascript(options: Mapping[str, object]) -> dict[str, object]:
    """The options that have a value, as ``createRealtime`` spells them, for JSON."""
    return {
        re.sub("_(.)", lambda found: found[1].upper(), name): _plain(name, value)
        for name, value in options.items()
        if is_given(name, value)
    }


def _plain(name: str, value: object) -> object:
    if value == inf:
        return None  # JSON has no infinity.
    # The client wants the id of a user as a string.
    is_id = name == "shared" and not isinstance(value, bool)
    return str(value) if is_id or isinstance(value, Promise) else value
