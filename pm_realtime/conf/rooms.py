"""The rooms of ``ROOMS`` and ``DEFAULT_ROOM``: names and routes with their options."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.urls.resolvers import RoutePattern

from pm_realtime.conf.client_options import is_bool, is_number
from pm_realtime.conf.presence import PresenceOptions, find_presence_faults, read_presence
from pm_realtime.conf.rates import is_rate
from pm_realtime.conf.settings import conf

#: The ``publish_role`` of a room to which only server code sends.
SERVER: Final = "server"
#: The ``publish_role`` of a room to which anonymous connections send too.
ANONYMOUS: Final = "anonymous"
#: A value in a route, with its name as the group.
ROUTE_VALUE: Final = re.compile("<(?:[^<>:]+:)?([^<>]+)>")
#: Messages that a stream keeps at most.
MAX_HISTORY: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """The options of one room in ``ROOMS``, and the setting that has them."""

    min_role: str | None = None
    public: bool = False
    publish_role: str | None = None
    authorize: str | None = None
    max_connections: int | None = None
    #: Messages of the stream, and for how many seconds; None: as the settings say.
    history: int | None = None
    history_ttl: float | None = None
    #: Dotted paths: the type of a message's content, and a function called before it is published.
    content: str | None = None
    on_message: str | None = None
    #: For its messages alone, instead of ``RATE_LIMIT``.
    rate: str | None = None
    #: None: no presence.
    presence: PresenceOptions | None = None
    setting: str = field(default="", compare=False, repr=False)


OPTION_NAMES: Final = tuple(option.name for option in fields(RoomOptions) if option.compare)


class Room(NamedTuple):
    """A name with the options of its room, and the values that its route captured."""

    name: str
    options: RoomOptions
    kwargs: Mapping[str, Any]


class Retention(NamedTuple):
    """A stream keeps its last ``size`` messages, for ``ttl_seconds``. 0: it keeps nothing."""

    size: int
    ttl_seconds: float


class Fault(NamedTuple):
    """A mistake in the options of a room or a command, with the number of its system check."""

    number: str
    text: str
    hint: str
    #: The option, if there is none of that name.
    unknown: object = None


class _Route(NamedTuple):
    """A route with its options. It has no ``pattern`` if it does not parse: it then is a fault."""

    text: str
    pattern: RoutePattern | None
    near: re.Pattern[str]
    options: RoomOptions | Fault


class _Table(NamedTuple):
    """``ROOMS`` with its routes compiled, made from ``site_settings`` when they had ``source``."""

    site_settings: Any
    source: Any
    exact: dict[str, RoomOptions | Fault]
    routes: list[_Route]
    #: Names that begin like a route.
    near: re.Pattern[str] | None
    default: RoomOptions | Fault | None
    #: Whether any of them has a rate or ``on_message``.
    has_message_options: bool
    has_presence: bool


_table = _Table(None, None, {}, [], None, None, False, False)


def room_of(name: str) -> Room | None:
    """The room with ``name``: by an exact name, else the first matching route, else the default.

    None if ``name`` begins like a route and fits none, or if only the default would be left and
    ``DEFAULT_ROOM`` is None. Raises ``ImproperlyConfigured`` if the options are invalid.
    """
    table = _current_table()
    if (options := table.exact.get(name)) is not None:
        return Room(name, _valid(options), {})
    for route in table.routes:
        if route.pattern is None:
            if route.near.fullmatch(name):
                _valid(route.options)
        elif (match := route.pattern.match(name)) is not None:
            return Room(name, _valid(route.options), match[2])
    if table.default is None or (table.near is not None and table.near.fullmatch(name)):
        return None
    return Room(name, _valid(table.default), {})


def message_options(name: str) -> RoomOptions | None:
    """The options of the room ``name``, if any room has a rate or ``on_message``.

    None as well if they are invalid. It is asked for each message, so it costs little on other
    sites: joining a room has read the settings, which only tests change.
    """
    if not _table.has_message_options:
        return None
    try:
        room = room_of(name)
    except ImproperlyConfigured:
        return None
    return None if room is None else room.options


def has_presence() -> bool:
    """Whether any room has presence; False if the settings of rooms are invalid."""
    try:
        return _current_table().has_presence
    except ImproperlyConfigured:  # Nobody can join a room, and the log says why.
        return False


def retention() -> Retention:
    """The retention of the streams of users, roles and everyone, and the default for rooms."""
    period = conf.RECOVERY_PERIOD
    return Retention(conf.RECOVERY_SIZE if period else 0, period)


def retention_of(room: Room | None) -> Retention:
    """The retention of ``room``, the result of :func:`room_of`."""
    size, ttl_seconds = retention()
    if room is not None:
        options = room.options
        if options.history_ttl is not None:
            # A room may keep messages although the settings keep none.
            size, ttl_seconds = conf.RECOVERY_SIZE, options.history_ttl
        if options.history is not None:
            size = options.history if ttl_seconds else 0
    return Retention(size, ttl_seconds)


def missed_route(name: str) -> str | None:
    """The route that ``name`` begins like, if ``name`` fits nothing in ``ROOMS``."""
    table = _current_table()
    if table.near is None or name in table.exact or not table.near.fullmatch(name):
        return None
    if any(route.pattern is not None and route.pattern.match(name) for route in table.routes):
        return None
    return next(route.text for route in table.routes if route.near.fullmatch(name))


def is_route(name: str) -> bool:
    """Whether a key of ``ROOMS`` is a route as in Django's URLconfs, not an exact name."""
    return "<" in name or ">" in name


def parse_route(route: str) -> RoutePattern:
    """The pattern of ``route``. Raises ``ImproperlyConfigured`` for an invalid route.

    A bracket without its partner is an error here. Django takes it literally, so the options of
    the route would not apply to the rooms that they are for.
    """
    if re.search("[<>]", re.sub("<[^<>]+>", "", route)):
        raise ImproperlyConfigured(f"{route!r} has a bracket without its partner")
    try:
        pattern = RoutePattern(route, is_endpoint=True)
        pattern.regex  # noqa: B018  (Django compiles a route at its first use)
    except re.error as error:
        raise ImproperlyConfigured(f"{route!r}: {error}") from error
    return pattern


def _hint_of_presence(value: object) -> str:
    if isinstance(value, Mapping):
        return "Correct it, or leave it out for its default."
    return "Leave the option out for no presence."


def has_text(route: str) -> bool:
    """Whether ``route`` has text beside its values, so that not every name is like it."""
    return bool(re.sub("<[^<>]+>", "", route))


def find_faults(options: object, setting: str, roles: Sequence[str]) -> Iterator[Fault]:
    """The mistakes in ``options``, the value of ``setting`` in the settings."""
    if not isinstance(options, Mapping):
        text = f"{setting} must be a dict of room options, got {options!r} ({_type(options)})."
        yield Fault("E010", text, f"Options are: {', '.join(OPTION_NAMES)}.")
        return
    for option, value in options.items():
        where = f"{setting}[{option!r}]"
        if option not in OPTION_NAMES:
            yield Fault("E009", f"{where} is not a room option.", "", unknown=option)
        elif option == "presence":
            for fault in find_presence_faults(value, roles):
                yield Fault("E037", where + fault, _hint_of_presence(value))
        elif option in ("min_role", "publish_role"):
            names = (*roles, *((SERVER, ANONYMOUS) if option == "publish_role" else ()))
            if value is not None and value not in names:
                text = f"{where}: expected one of {', '.join(names)}, got {value!r}."
                hint = 'Add the role to PM_REALTIME["ROLES"], or name one that is there.'
                yield Fault("E004", text, hint)
        else:
            expected, is_valid = _VALUES[option]
            if not is_valid(value):
                text = f"{where} must be {expected}, got {value!r} ({_type(value)})."
                yield Fault("E010", text, "Leave the option out for its default.")


def _is_capacity(value: Any) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value is None or (is_whole and value >= 1)


def _is_history(value: Any) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value is None or (is_whole and 0 <= value <= MAX_HISTORY)


def _is_history_ttl(value: Any) -> bool:
    return value is None or (is_number(value) and 0 < value < 1e9)


_DOTTED_PATH: Final = (
    "a dotted path as text, or None",
    lambda value: value is None or isinstance(value, str),
)
#: By name: the valid values of an option, in words and as a test.
_VALUES: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "public": ("True or False", is_bool),
    "max_connections": ("a whole number of at least 1, or None", _is_capacity),
    "history": (f"a whole number from 0 to {MAX_HISTORY:,}, or None", _is_history),
    "history_ttl": ("a number of seconds above 0, or None", _is_history_ttl),
    "authorize": _DOTTED_PATH,
    "content": _DOTTED_PATH,
    "on_message": _DOTTED_PATH,
    "rate": ("a rate such as '30/s', or None", lambda value: value is None or is_rate(value)),
}


def _type(value: object) -> str:
    return type(value).__name__


def _valid(options: RoomOptions | Fault) -> RoomOptions:
    if isinstance(options, Fault):
        raise ImproperlyConfigured(options.text)
    return options


def _current_table() -> _Table:
    """The table of the present settings, made anew only if they have changed.

    A dict may be changed in place. Another dict is another setting even if both are equal, as 1 is
    equal to True and is no valid value.
    """
    global _table
    found = conf.user_settings
    source = found.get("ROOMS"), found.get("DEFAULT_ROOM", {}), found.get("ROLES")
    if _table.site_settings is found and _table.source == source:
        return _table
    table = _make_table(found, _copy(source))
    # Else the URLconf, which may be imported later, may register the converter of a route.
    if all(route.pattern is not None for route in table.routes):
        _table = table
    return table


def _copy(source: Any) -> Any:
    try:
        return copy.deepcopy(source)
    except Exception:  # There is no copy of a module, which is a fault that the table has.
        return source


def _make_table(site_settings: Any, source: Any) -> _Table:
    exact: dict[str, RoomOptions | Fault] = {}
    routes, default = [], _read_default()
    for key, given in conf.ROOMS.items():
        setting = f'PM_REALTIME["ROOMS"][{key!r}]'
        options = _read(given, setting)
        if not isinstance(key, str):
            text = f"{setting}: expected the name of a room as text, got {key!r} ({_type(key)})."
            # Nobody can tell which rooms it is about, so none is left to the default.
            default = Fault("E006", text, "")
        elif is_route(key):
            routes.append(_route(str.__str__(key), options, setting))
        else:
            exact[str.__str__(key)] = options
    near = re.compile("|".join(route.near.pattern for route in routes), re.DOTALL)
    found = [*exact.values(), *(route.options for route in routes), default]
    return _Table(
        site_settings=site_settings,
        source=source,
        exact=exact,
        routes=routes,
        near=near if routes else None,
        default=default,
        has_message_options=any(map(_has_message_options, found)),
        has_presence=any(isinstance(each, RoomOptions) and each.presence for each in found),
    )


def _has_message_options(options: RoomOptions | Fault | None) -> bool:
    return isinstance(options, RoomOptions) and (options.rate or options.on_message) is not None


def _read_default() -> RoomOptions | Fault | None:
    try:
        given = conf.DEFAULT_ROOM
    except ImproperlyConfigured as error:
        return Fault("E003", str(error), "")
    return None if given is None else _read(given, 'PM_REALTIME["DEFAULT_ROOM"]')


def _read(given: Any, setting: str) -> RoomOptions | Fault:
    fault = next(find_faults(given, setting, conf.ROLES), None)
    if fault is not None:
        return fault
    presence = read_presence(given.get("presence"))
    return RoomOptions(**{**given, "presence": presence}, setting=setting)


def _route(text: str, options: RoomOptions | Fault, setting: str) -> _Route:
    near = re.compile(_near(text), re.DOTALL)
    try:
        return _Route(text, parse_route(text), near, options)
    except ImproperlyConfigured as error:
        return _Route(text, None, near, Fault("E006", f"{setting} does not parse: {error}.", ""))


def _near(route: str) -> str:
    """The expression for names that begin like ``route``, up to its first value.

    A route that begins with a value has the rest of its text instead. If there is none, or if the
    first value cannot be told from the text, every name is like the route.
    """
    prefix, bracket, _ = route.partition("<")
    if not bracket or ">" in prefix:
        return ".*"
    if prefix:
        return f"{re.escape(prefix)}.*"
    *texts, last = map(re.escape, re.split("<[^<>]*>?", route)[1:])
    # Atomic groups: a name with many slashes, say, takes no longer than another.
    return "".join(f"(?>.*?{text})" for text in texts) + f".*{last}"
