"""The option ``presence`` of a room."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pm_realtime.conf.client_options import is_number

#: Members that ``max`` may allow.
MAX_MEMBERS: Final = 10_000
#: Seconds that ``grace`` may have.
MAX_GRACE_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class PresenceOptions:
    """Members are users or connections (``per``); ``grace`` is in seconds.

    ``info`` is the dotted path of a function. Up to ``max`` members are told; of more, only their
    number. ``see`` and ``be_seen`` are the lowest role for it, or a tuple of the roles alone; None
    means everybody in the room.
    """

    per: Literal["user", "connection"] = "user"
    grace: float = 10
    info: str | None = None
    max: int = 200
    see: str | tuple[str, ...] | None = None
    be_seen: str | tuple[str, ...] | None = None


def read_presence(given: Any) -> PresenceOptions | None:
    """The options that ``given``, a valid value of ``presence``, stands for; None: no presence."""
    if given is None or given is False:
        return None
    options = {} if given is True else dict(given)
    for name in ("see", "be_seen"):
        if isinstance(options.get(name), list):
            options[name] = tuple(options[name])
    return PresenceOptions(**options)


def find_presence_faults(given: Any, roles: Sequence[str]) -> Iterator[str]:
    """The mistakes in ``given``, each as the rest of a sentence that begins with the setting."""
    if given is None or isinstance(given, bool):
        return
    if not isinstance(given, Mapping):
        yield f" must be True, False or a dict of options, got {given!r} ({type(given).__name__})."
        return
    for name, value in given.items():
        if name not in _VALUES:
            yield f"[{name!r}] is not an option; there are: {', '.join(_VALUES)}."
            continue
        expected, is_valid = _VALUES[name]
        if not is_valid(value, roles):
            shown = f"{value!r} ({type(value).__name__})"
            yield f"[{name!r}] must be {expected.format(roles=', '.join(roles))}, got {shown}."


def _is_roles(value: Any, roles: Sequence[str]) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(each, str) and each in roles for each in value)
    return value is None or (isinstance(value, str) and value in roles)


def _is_max(value: Any, _: Sequence[str]) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and 0 <= value <= MAX_MEMBERS


_ROLES: Final = ("a role, a list of roles, or None; there are: {roles}", _is_roles)
_VALUES: Final[Mapping[str, tuple[str, Callable[[Any, Sequence[str]], bool]]]] = {
    "per": ("'user' or 'connection'", lambda value, _: value in ("user", "connection")),
    "grace": (
        f"a number of seconds from 0 to {MAX_GRACE_SECONDS}",
        lambda value, _: is_number(value) and 0 <= value <= MAX_GRACE_SECONDS,
    ),
    "info": (
        "a dotted path as text, or None",
        lambda value, _: value is None or isinstance(value, str),
    ),
    "max": (f"a whole number from 0 to {MAX_MEMBERS:,}", _is_max),
    "see": _ROLES,
    "be_seen": _ROLES,
}
