"""The arguments of the decorator of commands, and the mistakes in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.conf import Fault, conf, is_route, parse_rate, parse_route
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import RESERVED_TYPES, MessageType, check_room
from pm_realtime.texts import is_clean

#: Characters of the type of a command.
MAX_TYPE_LENGTH: Final = 100
#: Types of the commands of this package, which clients send.
BUILT_IN_TYPES: Final = frozenset(
    (MessageType.PING, MessageType.SUBSCRIBE, MessageType.UNSUBSCRIBE, MessageType.MESSAGE)
)

DEFAULT_TIMEOUT_SECONDS: Final = 10.0
_OWN_NAME: Final = "Choose a name of your own, such as 'auction.bid'."


@dataclass(frozen=True, kw_only=True, eq=False)
class CommandOptions:
    """The arguments of the decorator."""

    type: str
    #: A room's name or a route; None for a command that is about the user.
    room: str | None = None
    joined: bool = True
    min_role: str | None = None
    public: bool = False
    rate: str | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    #: Whether there is a transaction, or the alias of its database. None: if the function is sync.
    atomic: bool | str | None = None


def find_option_faults(options: CommandOptions, *, is_async: bool) -> list[Fault]:
    """Each mistake in ``options``, but a role: see :func:`find_role_fault`."""
    return [
        *_check_type(options.type),
        *_check_room(options.room),
        *_check_flags(options),
        *_check_rate(options.rate),
        *_check_timeout(options.timeout_seconds),
        *_check_atomic(options.atomic, is_async),
    ]


def find_role_fault(min_role: Any) -> Fault | None:
    """The mistake of a role that is not in ``ROLES``, which may change under a test."""
    if min_role is None or min_role in (roles := conf.ROLES):
        return None
    text = f"min_role: expected one of {', '.join(roles)}, got {min_role!r}."
    return _invalid(text, 'Add the role to PM_REALTIME["ROLES"], or name one that is there.')


def find_contradictions(options: CommandOptions) -> Iterator[Fault]:
    """Options that are valid, but hardly meant together."""
    if options.public is True and options.min_role is not None:
        text = "it is public and has a min_role: anonymous users call it, lower roles do not."
        yield Fault("W036", text, "Keep one of the two.")
    if options.joined is False and options.room is None:
        yield Fault("W036", "joined=False has no effect without a room.", "Leave it out.")


def _check_type(type: Any) -> Iterator[Fault]:
    if callable(type):
        yield Fault("E030", "it has no type.", "Write @command('auction.bid'), with a type.")
    elif not isinstance(type, str) or not 0 < len(type) <= MAX_TYPE_LENGTH or not is_clean(type):
        text = (
            f"expected a type of 1 to {MAX_TYPE_LENGTH} characters without control characters, "
            f"got {type!r}."
        )
        yield Fault("E030", text, _OWN_NAME)
    elif type in BUILT_IN_TYPES:
        yield Fault("E030", f"{type!r} is a command of this package.", _OWN_NAME)
    elif type in RESERVED_TYPES or type.startswith(":"):
        yield Fault("E030", f"{type!r} belongs to the protocol and its clients.", _OWN_NAME)


def _check_room(room: Any) -> Iterator[Fault]:
    if room is None:
        return
    hint = "Write it like a key of ROOMS: 'auction' or 'auction:<int:pk>'."
    if not isinstance(room, str):
        yield _invalid(f"room: expected the name of a room or a route, got {room!r}.", hint)
        return
    try:
        parse_route(room) if is_route(room) else check_room(room)
    except ImproperlyConfigured as error:
        yield _invalid(f"room: the route does not parse: {str(error).rstrip('.')}.", hint)
    except CommandError as error:
        yield _invalid(f"room: got {room!r}. {error.message}", hint)


def _check_flags(options: CommandOptions) -> Iterator[Fault]:
    for name in ("joined", "public"):
        value = getattr(options, name)
        if not isinstance(value, bool):
            text = f"{name}: expected True or False, got {value!r}."
            yield _invalid(text, "Leave it out for its default.")


def _check_rate(rate: Any) -> Iterator[Fault]:
    try:
        if rate is not None:
            parse_rate(rate)
    except ValueError as error:
        yield _invalid(f"rate: {error}.", "Write a count and a unit, as in '10/s' or '60/m'.")


def _check_timeout(seconds: Any) -> Iterator[Fault]:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds < 1e9:
        text = f"timeout: expected a number of seconds above 0, got {seconds!r}."
        yield _invalid(text, f"Leave it out for {DEFAULT_TIMEOUT_SECONDS:g} s.")


def _check_atomic(atomic: Any, is_async: bool) -> Iterator[Fault]:
    if atomic is None or atomic is False:
        return
    if is_async:
        text = f"atomic={atomic!r} has no effect: Django has no transactions for async functions."
        yield _invalid(text, "Leave it out, or write a sync function.")
    elif isinstance(atomic, str):
        if atomic not in settings.DATABASES:
            known = ", ".join(settings.DATABASES) or "none"
            text = f"atomic: expected the alias of a database ({known}), got {atomic!r}."
            yield _invalid(text, "Name one of DATABASES, or write True or False.")
    elif atomic is not True:
        text = f"atomic: expected True, False or the alias of a database, got {atomic!r}."
        yield _invalid(text, "Leave it out for a transaction of the default database.")


def _invalid(text: str, hint: str) -> Fault:
    return Fault("E033", text, hint)
