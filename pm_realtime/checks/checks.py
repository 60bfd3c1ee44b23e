"""System checks: each wrong setting named, with what was expected, what was found and a hint."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from pm_realtime.backends import (
    MEMORY,
    REDIS,
    Backend,
    RedisBackend,
    backend_path,
    check_hosts,
    get_backend,
)
from pm_realtime.conf import Conf, conf
from pm_realtime.connection import is_pattern, parse_rate
from pm_realtime.exceptions import CommandError
from pm_realtime.layer import (
    BLOCKING_SECONDS,
    CHANNELS_REDIS,
    CORE_LAYER,
    PUBSUB_LAYER,
    is_on_redis,
    layer_config,
    layer_name,
    layer_path,
    short_socket_timeout,
)
from pm_realtime.protocol import check_room
from pm_realtime.rooms import OPTION_NAMES, SERVER, is_route, parse_route

_SERVERS: Final = ("daphne", "uvicorn", "hypercorn", "granian")
_MEMORY: Final = "channels.layers.InMemoryChannelLayer"
#: All that Channels reads of a layer; its old ROUTING it refuses.
_LAYER_KEYS: Final = ("BACKEND", "CONFIG", "TEST_CONFIG")
_EXAMPLE: Final = (
    f'CHANNEL_LAYERS = {{"default": {{"BACKEND": "{PUBSUB_LAYER}", '
    '"CONFIG": {"hosts": ["redis://localhost:6379"]}}}'
)
#: Below this a burst fills the one channel of a process, and what exceeds it is lost.
_MIN_CAPACITY: Final = 1000


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Every mistake in ``PM_REALTIME`` at once."""
    found = getattr(settings, "PM_REALTIME", {})
    if not isinstance(found, Mapping):
        return [
            Error(
                f"PM_REALTIME must be a dict, got {found!r} ({type(found).__name__}).",
                hint="Write PM_REALTIME = {...}, or leave it out for the defaults.",
                id="pm_realtime.E001",
            )
        ]
    broken = {
        name
        for name, setting in Conf.settings().items()
        if name in found and not setting.is_valid(found[name])
    }
    messages = [*_check_keys(found), *_check_types(found, broken)]
    for name in ("RATE_LIMIT", "CONNECT_RATE_PER_ADDRESS", "CONNECT_RATE_PER_USER"):
        if name not in broken:
            messages += _check_rate(name)
    if "ROLE_RESOLVER" not in broken:
        messages += _check_callable(conf.ROLE_RESOLVER, 'PM_REALTIME["ROLE_RESOLVER"]', "E007")
    if "ALLOWED_ORIGINS" not in broken:
        messages += _check_origins()
    if not {"BACKEND", "CHANNEL_LAYER"} & broken:
        messages += _check_backend()
    if not {"BACKEND", "CHANNEL_LAYER", "LOCATION"} & broken:
        messages += _check_location()
        messages += _check_memory()
    roles = _roles_meant(found) if "ROLES" in broken else tuple(conf.ROLES)
    if SERVER in roles:
        messages.append(
            Error(
                f'PM_REALTIME["ROLES"]: {SERVER!r} is no name for a role.',
                hint=f'As a publish_role, "{SERVER}" stands for server code. Choose another name.',
                id="pm_realtime.E014",
            )
        )
    if "ROOMS" not in broken:
        messages += _check_rooms(roles)
    if "DEFAULT_ROOM" not in broken and conf.DEFAULT_ROOM is not None:
        messages += _check_options(conf.DEFAULT_ROOM, 'PM_REALTIME["DEFAULT_ROOM"]', roles)
    return messages


def check_environment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """What is around this package: an ASGI server, and a channel layer that fits."""
    messages: list[CheckMessage] = []
    if not any(map(_is_installed, _SERVERS)):
        messages.append(
            CheckWarning(
                f"No ASGI server is installed (looked for {', '.join(_SERVERS)}).",
                hint="WebSockets need one: pip install daphne, or pm-realtime[uvicorn].",
                id="pm_realtime.W001",
            )
        )
    elif "daphne" in settings.INSTALLED_APPS and not getattr(settings, "ASGI_APPLICATION", None):
        messages.append(
            CheckWarning(
                "daphne is in INSTALLED_APPS, but ASGI_APPLICATION is not set, so runserver fails.",
                hint="Set ASGI_APPLICATION = 'mysite.asgi.application'.",
                id="pm_realtime.W005",
            )
        )
    if not Conf.CHANNEL_LAYER.is_valid(conf.user_settings.get("CHANNEL_LAYER", "default")):
        return messages
    return [*messages, *_check_layer()]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _check_keys(found: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    known = list(Conf.settings())
    for key in found:
        if key not in known:
            yield Error(
                f"PM_REALTIME[{key!r}] is not a setting of pm_realtime.",
                hint=_did_you_mean(key, known),
                id="pm_realtime.E002",
            )


def _roles_meant(found: Mapping[Any, Any]) -> tuple[str, ...]:
    """Every name that a broken ``ROLES`` may have been meant to hold, with the defaults."""
    meant = found["ROLES"]
    names = meant if isinstance(meant, list | tuple | set) else [meant]
    named = (name for name in names if isinstance(name, str))
    return tuple(dict.fromkeys([*Conf.ROLES.default, *named]))


def _did_you_mean(key: object, known: list[str]) -> str:
    by_upper = {name.upper(): name for name in known}
    wanted = str(key).upper()
    begins = [name for name in by_upper if len(wanted) > 3 and name.startswith(wanted)]
    for name in begins or difflib.get_close_matches(wanted, by_upper, n=1):
        return f"Did you mean {by_upper[name]!r}?"
    return f"Known are: {', '.join(known)}."


def _check_types(found: Mapping[Any, Any], broken: set[str]) -> Iterator[CheckMessage]:
    for name, setting in Conf.settings().items():
        if name in broken:
            yield Error(
                setting.describe(found[name]),
                hint=f"The default is {setting.default!r}; leave the key out to use it.",
                id="pm_realtime.E003",
            )


def _check_rate(name: str) -> Iterator[CheckMessage]:
    rate = getattr(conf, name)
    if rate is None:
        return
    try:
        parse_rate(rate)
    except ValueError as error:
        yield Error(
            f'PM_REALTIME["{name}"]: {error}.',
            hint="Write a count and a unit, as in '60/m', '5/s' or '1000/h'; None for no limit.",
            id="pm_realtime.E005",
        )


def _check_callable(path: str, where: str, number: str) -> Iterator[CheckMessage]:
    hint = "Give the dotted path of a function, such as 'mysite.realtime.may_join'."
    try:
        found = import_string(path)
    except Exception as error:
        yield Error(
            f"{where}: expected a dotted path that imports, got {path!r} ({error}).",
            hint=hint,
            id=f"pm_realtime.{number}",
        )
        return
    if not callable(found):
        yield Error(
            f"{where}: expected something callable at {path!r}, got {found!r}.",
            hint=hint,
            id=f"pm_realtime.{number}",
        )


def _check_origins() -> Iterator[CheckMessage]:
    for origin in conf.ALLOWED_ORIGINS or ():
        if not is_pattern(origin):
            yield Error(
                f'PM_REALTIME["ALLOWED_ORIGINS"]: expected scheme and host, got {origin!r}.',
                hint=_hint_for_origin(origin),
                id="pm_realtime.E012",
            )


def _hint_for_origin(origin: str) -> str:
    if origin.lower() == "null":
        return "Any site can make a page of the origin 'null', so it cannot be let in by itself."
    host = re.sub(r"^(\w*:)?/*", "", origin).partition("/")[0]
    scheme = "http" if origin.startswith(("http:", "ws:")) else "https"
    meant = f"{scheme}://{re.sub(r'^[*]?[.]', '*.', host)}"
    if host and is_pattern(meant):
        return f"Did you mean {meant!r}?"
    return "Write 'https://example.com', 'https://*.example.com' or '*', with no path."


def _check_backend() -> Iterator[CheckMessage]:
    problem = "is no subclass of pm_realtime.backends.base.Backend"
    try:
        backend = get_backend()
    except Exception as error:
        backend, problem = None, f"could not be made ({error})"
    if not isinstance(backend, RedisBackend) and is_on_redis():
        yield from check_hosts()
    if isinstance(backend, Backend):
        found = backend.check()
        if layer_path().startswith(CHANNELS_REDIS) and _import_problem(layer_path()):
            # What installs channels-redis installs redis too: one message is enough.
            found = [message for message in found if message.id != "pm_realtime.E015"]
        yield from found
        return
    yield Error(
        f'PM_REALTIME["BACKEND"]: {conf.BACKEND!r} {problem}.',
        hint="Leave the key out to have the one that fits CHANNEL_LAYERS.",
        id="pm_realtime.E013",
    )


def _check_location() -> Iterator[CheckMessage]:
    if conf.LOCATION is None or backend_path() != MEMORY:
        return
    why = "BACKEND says so" if conf.BACKEND else "the channel layer is not one of channels-redis"
    if conf.BACKEND or not _is_layer_broken():
        yield CheckWarning(
            f'PM_REALTIME["LOCATION"] has no effect: the state is kept in memory, because {why}.',
            hint=f"Set CHANNEL_LAYERS to {PUBSUB_LAYER}, or BACKEND to {REDIS!r}.",
            id="pm_realtime.W007",
        )


def _is_layer_broken() -> bool:
    """Whether the layer is written down and cannot be made, which has a message of its own."""
    if layer_config() is None:
        return bool(getattr(settings, "CHANNEL_LAYERS", None))
    return bool(_import_problem((layer_config() or {}).get("BACKEND")))


def _check_memory() -> Iterator[CheckMessage]:
    if conf.BACKEND == MEMORY and is_on_redis():
        yield CheckWarning(
            'PM_REALTIME["BACKEND"] is MemoryBackend, but the channel layer is one of '
            "channels-redis: connections are counted, and limits hold, in each process by itself.",
            hint="Leave BACKEND out to have them counted over all processes.",
            id="pm_realtime.W009",
        )


def _check_rooms(roles: Sequence[str]) -> Iterator[CheckMessage]:
    for name, options in conf.ROOMS.items():
        where = f'PM_REALTIME["ROOMS"][{name!r}]'
        yield from _check_room_name(name, where)
        yield from _check_options(options, where, roles)


def _check_room_name(name: object, where: str) -> Iterator[CheckMessage]:
    if not isinstance(name, str) or not name:
        yield Error(
            f"{where}: expected the name of a room as text, got {name!r} ({type(name).__name__}).",
            hint="Rooms are named by text, such as 'support' or 'project:<int:pk>'.",
            id="pm_realtime.E006",
        )
    elif is_route(name):
        try:
            parse_route(name)
        except ImproperlyConfigured as error:
            yield Error(
                f"{where}: expected a Django route, got one that does not parse ({error}).",
                hint="Write it like the first argument of path(): 'project:<int:pk>'.",
                id="pm_realtime.E006",
            )
    else:
        try:
            check_room(name)
        except CommandError as error:
            yield Error(
                f"{where}: no client can join it. {error.message}",
                hint="Give the room a shorter name of printable characters.",
                id="pm_realtime.E006",
            )


def _check_options(options: object, where: str, roles: Sequence[str]) -> Iterator[CheckMessage]:
    if not isinstance(options, Mapping):
        yield Error(
            f"{where} must be a dict of room options, got {options!r} ({type(options).__name__}).",
            hint=f"Options are: {', '.join(OPTION_NAMES)}.",
            id="pm_realtime.E010",
        )
        return
    for option, value in options.items():
        if option not in OPTION_NAMES:
            yield Error(
                f"{where}[{option!r}] is not a room option.",
                hint=_did_you_mean(option, list(OPTION_NAMES)),
                id="pm_realtime.E009",
            )
        else:
            yield from _check_option(option, value, f"{where}[{option!r}]", roles)
    if options.get("public") is True and options.get("min_role") is not None:
        yield CheckWarning(
            f"{where} is public and has a min_role: anonymous users join, lower roles do not.",
            hint="Keep one of the two.",
            id="pm_realtime.W006",
        )


def _check_option(
    option: str, value: Any, where: str, roles: Sequence[str]
) -> Iterator[CheckMessage]:
    expected = ""
    if option in ("min_role", "publish_role"):
        names = (*roles, *([SERVER] if option == "publish_role" else []))
        if value is not None and value not in names:
            yield Error(
                f"{where}: expected one of {', '.join(names)}, got {value!r}.",
                hint='Add the role to PM_REALTIME["ROLES"], or name one that is there.',
                id="pm_realtime.E004",
            )
    elif option == "public" and not isinstance(value, bool):
        expected = "True or False"
    elif option == "max_connections" and value is not None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            expected = "a whole number of at least 1, or None"
    elif option == "authorize" and value is not None:
        if isinstance(value, str):
            yield from _check_callable(value, where, "E008")
        else:
            expected = "a dotted path as text, or None"
    if expected:
        yield Error(
            f"{where} must be {expected}, got {value!r} ({type(value).__name__}).",
            hint="Leave the option out for its default.",
            id="pm_realtime.E010",
        )


def _check_layer() -> Iterator[CheckMessage]:
    configured = getattr(settings, "CHANNEL_LAYERS", {})
    config = layer_config()
    if not isinstance(configured, Mapping):
        yield Error(
            f"CHANNEL_LAYERS must be a dict, got {type(configured).__name__}.",
            hint=f"Write {_EXAMPLE}, or leave it out.",
            id="pm_realtime.E011",
        )
        return
    if config is None and conf.CHANNEL_LAYER in configured:
        kind = type(configured[conf.CHANNEL_LAYER]).__name__
        yield Error(
            f"{layer_name()} must be a dict with the key BACKEND, got one of type {kind}.",
            hint=f"Write {_EXAMPLE}.",
            id="pm_realtime.E011",
        )
        return
    if config is None and (configured or Conf.CHANNEL_LAYER.default != conf.CHANNEL_LAYER):
        yield Error(
            f'PM_REALTIME["CHANNEL_LAYER"]: {conf.CHANNEL_LAYER!r} is not in CHANNEL_LAYERS.',
            hint=f"CHANNEL_LAYERS has: {', '.join(map(str, configured or ())) or 'nothing'}.",
            id="pm_realtime.E011",
        )
        return
    if config is not None:
        yield from _check_layer_keys(config)
        if problem := _import_problem(config.get("BACKEND")):
            yield Error(
                f'{layer_name()}["BACKEND"] {problem}.',
                hint=_hint_for(config.get("BACKEND")),
                id="pm_realtime.E017",
            )
            return
    backend = config.get("BACKEND") if config is not None else _MEMORY
    options = (config or {}).get("CONFIG")
    options = options if isinstance(options, Mapping) else {}
    if backend == _MEMORY and not settings.DEBUG:
        yield CheckWarning(
            "The in-memory channel layer is in use with DEBUG = False: pushes from other "
            "processes (workers, shells, a second server) reach nobody.",
            hint=f"Set CHANNEL_LAYERS to {PUBSUB_LAYER}; one process alone may silence this.",
            id="pm_realtime.W002",
        )
    if config is not None and backend in (_MEMORY, CORE_LAYER):
        capacity = options.get("capacity", 100)
        if isinstance(capacity, int) and capacity < _MIN_CAPACITY:
            yield CheckWarning(
                f"The channel layer drops what exceeds {capacity} waiting messages in silence; "
                "here one channel carries all pushes of a process.",
                hint=f"Set its capacity to {_MIN_CAPACITY} or more, or use {PUBSUB_LAYER}.",
                id="pm_realtime.W003",
            )
    if backend == CORE_LAYER:
        yield from _check_socket_timeout(options.get("hosts"))


def _check_layer_keys(config: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    for key in config:
        if key not in _LAYER_KEYS:
            hint = _did_you_mean(key, list(_LAYER_KEYS))
            if not hint.startswith("Did"):
                hint = f'Options of the layer stand inside: "CONFIG": {{{key!r}: ...}}. {hint}'
            yield CheckWarning(
                f"{layer_name()}[{key!r}] has no meaning to Channels.",
                hint=hint,
                id="pm_realtime.W008",
            )
    options = config.get("CONFIG", {})
    if not isinstance(options, Mapping):
        yield Error(
            f'{layer_name()}["CONFIG"] must be a dict, got one of type {type(options).__name__}.',
            hint=f"Write {_EXAMPLE}.",
            id="pm_realtime.E011",
        )


def _import_problem(path: object) -> str:
    """Why no channel layer can be had at ``path``; empty where one can."""
    if path is None or path == "":
        return "is missing"
    if not isinstance(path, str):
        return f"must be a dotted path as text, got {path!r} ({type(path).__name__})"
    try:
        found = import_string(path)
    except Exception as error:
        return f"cannot be imported: {path!r} ({str(error).rstrip('.')})"
    return "" if callable(found) else f"cannot be made: {path!r} is no class"


def _hint_for(path: object) -> str:
    is_there = _is_installed("channels_redis") and _is_installed("redis")
    if str(path).startswith(CHANNELS_REDIS) and not is_there:
        return "pip install pm-realtime[redis]"
    return _did_you_mean(path, [PUBSUB_LAYER, CORE_LAYER, _MEMORY])


def _check_socket_timeout(hosts: Any) -> Iterator[CheckMessage]:
    timeout = short_socket_timeout(hosts)
    if timeout is not None:
        yield CheckWarning(
            f"RedisChannelLayer waits {BLOCKING_SECONDS} s for a message, but its socket "
            f"times out after {timeout:g} s: a receiver with nothing to do dies of it. "
            "pm_realtime keeps its own busy; other consumers on this layer are lost.",
            hint=(
                'Add "?socket_timeout=30" to the URL or "socket_timeout": None to the host '
                f"dict, or use {PUBSUB_LAYER}."
            ),
            id="pm_realtime.W004",
        )
