"""The settings of this package: the keys of ``PM_REALTIME``, each read live at its use."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.conf.client_options import describe_fault, is_bool, is_number
from pm_realtime.conf.rates import is_rate

T = TypeVar("T")


class Setting(Generic[T]):
    """One key of ``PM_REALTIME``: its default and its valid values."""

    name: str

    def __init__(self, default: T, expected: str, is_valid: Callable[[Any], bool]) -> None:
        self.default = default
        self.expected = expected
        self.is_valid = is_valid

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "Setting[T]": ...

    @overload
    def __get__(self, instance: "Conf", owner: type) -> T: ...

    def __get__(self, instance: "Conf | None", owner: type) -> "Setting[T] | T":
        if instance is None:
            return self
        value: T = instance.user_settings.get(self.name, self.default)
        if value is not self.default and not self.is_valid(value):
            raise ImproperlyConfigured(self.describe(value))
        return value

    def describe(self, value: object) -> str:
        """The error message for an invalid ``value``."""
        return (
            f'PM_REALTIME["{self.name}"] must be {self.expected}, '
            f"got {value!r} ({type(value).__name__})."
        )


def _optional(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_valid(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip("/")) and "?" not in value


def _is_whole(value: object) -> bool:
    return is_number(value) and isinstance(value, int)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def _is_period(value: Any) -> bool:
    return is_number(value) and value < 1e9


def _is_seconds(value: Any) -> bool:
    return _is_period(value) and value > 0


def _is_window(value: Any) -> bool:
    return is_number(value) and value <= 1000


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_client_options(value: object) -> bool:
    return isinstance(value, Mapping) and describe_fault(value) is None


def _is_text_list(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(map(_is_text, value))


def _is_names(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) and _is_text_list(value)
    return is_list and 0 < len(set(value)) == len(value)


_COUNT: Final = "a whole number of at least 1"
_SECONDS: Final = "a number of seconds above 0"
_RATE: Final = "a rate such as '60/m', or None"
_DOTTED: Final = "a dotted path as text"


#: An empty dict that is always the same object.
_NO_SETTINGS: Final[Mapping[str, Any]] = {}


class Conf:
    """``conf.NAME`` is the present value of ``settings.PM_REALTIME["NAME"]``, or its default.

    Reading an invalid value raises ``ImproperlyConfigured``. The system checks find all of them
    at once.
    """

    PATH = Setting("api/ws", "a URL path such as 'api/ws'", _is_path)
    ROLES = Setting[tuple[str, ...]](
        ("user", "editor", "admin", "master"),
        "a list of different names, the lowest role first",
        _is_names,
    )
    ROLE_RESOLVER = Setting("pm_realtime.roles.resolve_role", _DOTTED, _is_text)
    NAME_RESOLVER = Setting[str | None](None, f"{_DOTTED}, or None", _optional(_is_text))
    ROOMS = Setting[Mapping[str, Mapping[str, Any]]](
        {
            "support": {"min_role": "editor"},
            "admin:notifications": {"min_role": "admin"},
            "system:broadcast": {"min_role": "master"},
        },
        "a dict of room names (or routes) to dicts of options",
        _is_mapping,
    )
    DEFAULT_ROOM = Setting[Mapping[str, Any] | None](
        {}, "a dict of room options, or None", _optional(_is_mapping)
    )
    RATE_LIMIT = Setting[str | None]("60/m", _RATE, _optional(is_rate))
    MAX_CONNECTIONS_PER_USER = Setting(5, _COUNT, _is_count)
    CONNECTION_LIMIT_POLICY = Setting(
        "close_oldest",
        "'close_oldest' or 'refuse'",
        lambda value: value in ("close_oldest", "refuse"),
    )
    MAX_ANONYMOUS_CONNECTIONS = Setting[int | None](
        10_000, f"{_COUNT}, or None", _optional(_is_count)
    )
    CONNECT_RATE_PER_ADDRESS = Setting[str | None]("1200/m", _RATE, _optional(is_rate))
    CONNECT_RATE_PER_USER = Setting[str | None]("1200/m", _RATE, _optional(is_rate))
    PROXIES = Setting[int | None](
        None, "the number of proxies in front, or None", _optional(_is_whole)
    )
    MAX_ROOMS_PER_CONNECTION = Setting(10, _COUNT, _is_count)
    HEARTBEAT_INTERVAL = Setting[float](30, _SECONDS, _is_seconds)
    HEARTBEAT_TIMEOUT = Setting[float](10, _SECONDS, _is_seconds)
    MAX_MESSAGE_BYTES = Setting(65536, f"{_COUNT} (bytes)", _is_count)
    MAX_QUEUE_BYTES = Setting(1048576, f"{_COUNT} (bytes)", _is_count)
    COMPRESSION = Setting(False, "True or False", is_bool)
    BATCH_WINDOW = Setting[float](10, "a number of milliseconds from 0 to 1000", _is_window)
    ALLOW_ANONYMOUS = Setting(True, "True or False", is_bool)
    ALLOWED_ORIGINS = Setting[tuple[str, ...] | None](
        None,
        "a list of origins such as 'https://example.com', or None",
        _optional(_is_text_list),
    )
    SESSION_RECHECK_INTERVAL = Setting[float](60, _SECONDS, _is_seconds)
    RIGHTS_IGNORE = Setting[tuple[str, ...]](
        ("last_login",), "a list of names of user fields", _is_text_list
    )
    AUTHORIZE_TIMEOUT = Setting[float](5, _SECONDS, _is_seconds)
    SHUTDOWN_PERIOD = Setting[float](5, _SECONDS, _is_seconds)
    RECOVERY_PERIOD = Setting[float](60, "a number of seconds, or 0", _is_period)
    RECOVERY_SIZE = Setting(500, f"{_COUNT} (messages)", _is_count)
    HISTORY_MAX_BYTES = Setting(67_108_864, f"{_COUNT} (bytes)", _is_count)
    IDEMPOTENCY_PERIOD = Setting[float](300, _SECONDS, _is_seconds)
    CLIENT = Setting[Mapping[str, Any]](
        {},
        "a dict of options of the browser client, such as {'auto_connect': True}",
        _is_client_options,
    )
    CHANNEL_LAYER = Setting("default", "an alias in CHANNEL_LAYERS", _is_text)
    BACKEND = Setting[str | None](None, f"{_DOTTED}, or None", _optional(_is_text))
    LOCATION = Setting[str | None](None, "a Redis URL as text, or None", _optional(_is_text))
    NAMESPACE = Setting("", "text", lambda value: isinstance(value, str))
    FAIL_SILENTLY = Setting(False, "True or False", is_bool)

    @property
    def user_settings(self) -> Mapping[str, Any]:
        """The site's ``PM_REALTIME``; empty if there is none, or one that is not a dict."""
        # Django keeps there what was read once. The lazy object itself is ten times slower.
        found = _kept_settings(settings).get("PM_REALTIME")
        if type(found) is dict:
            return found
        found = getattr(settings, "PM_REALTIME", _NO_SETTINGS)
        return found if isinstance(found, Mapping) else _NO_SETTINGS

    def find_unknown_keys(self) -> Iterable[Any]:
        """The keys of ``PM_REALTIME`` that are no settings, such as misspelled ones.

        Raises ``ImproperlyConfigured`` if it is not a dict: the defaults, which hold then, may let
        connections in that the site keeps out.
        """
        found = getattr(settings, "PM_REALTIME", _NO_SETTINGS)
        if not isinstance(found, Mapping):
            text = f"PM_REALTIME must be a dict, got {found!r} ({type(found).__name__})."
            raise ImproperlyConfigured(text)
        return found.keys() - _NAMES

    @classmethod
    def settings(cls) -> dict[str, Setting[Any]]:
        """All settings by name, in the order of the documentation."""
        return {name: value for name, value in vars(cls).items() if isinstance(value, Setting)}


def _kept_settings(settings: object) -> dict[str, Any]:
    return object.__getattribute__(settings, "__dict__")  # type: ignore[no-any-return]


conf: Final = Conf()
_NAMES: Final = frozenset(Conf.settings())


def batch_window_seconds() -> float:
    """``BATCH_WINDOW`` in seconds; 0 if the setting is invalid."""
    try:
        return conf.BATCH_WINDOW / 1000
    except ImproperlyConfigured:
        return 0.0
