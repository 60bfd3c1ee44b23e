"""Checks of the environment: an ASGI server and ``CHANNEL_LAYERS``."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.utils.module_loading import import_string

from pm_realtime.checks.accounts import check_accounts
from pm_realtime.checks.hints import did_you_mean, is_installed
from pm_realtime.conf import Conf, conf
from pm_realtime.layer import (
    BLOCKING_SECONDS,
    CHANNELS_REDIS,
    CORE_LAYER,
    PUBSUB_LAYER,
    daphne_lines,
    is_wsgi_runserver,
    layer_config,
    layer_name,
    short_socket_timeout,
)

_SERVERS: Final = ("daphne", "uvicorn", "hypercorn", "granian")
_MEMORY: Final = "channels.layers.InMemoryChannelLayer"
#: The keys that Channels reads. It refuses the old ROUTING.
_LAYER_KEYS: Final = ("BACKEND", "CONFIG", "TEST_CONFIG")
_EXAMPLE: Final = (
    f'CHANNEL_LAYERS = {{"default": {{"BACKEND": "{PUBSUB_LAYER}", '
    '"CONFIG": {"hosts": ["redis://localhost:6379"]}}}'
)
#: In messages. Below this, a burst overflows the one channel of a process, and messages are lost.
_MIN_LAYER_CAPACITY: Final = 1000


def check_environment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Every problem with the ASGI server, Django's accounts and the channel layer."""
    messages = [*_check_server(), *check_accounts()]
    if Conf.CHANNEL_LAYER.is_valid(conf.user_settings.get("CHANNEL_LAYER", "default")):
        messages += _check_layer()
    return messages


def _check_server() -> Iterator[CheckMessage]:
    if not any(map(is_installed, _SERVERS)):
        yield CheckWarning(
            f"No ASGI server is installed (looked for {', '.join(_SERVERS)}).",
            hint='WebSockets need one: pip install daphne, or "pm-realtime[uvicorn]".',
            id="pm_realtime.W001",
        )
    elif "daphne" in settings.INSTALLED_APPS and not getattr(settings, "ASGI_APPLICATION", None):
        yield CheckWarning(
            "daphne is in INSTALLED_APPS, but ASGI_APPLICATION is not set, so runserver fails.",
            hint="Set ASGI_APPLICATION = 'mysite.asgi.application'.",
            id="pm_realtime.W005",
        )
    # Only in the process that it is about: a site may have uvicorn or gunicorn for its sockets.
    elif not _is_elsewhere() and is_wsgi_runserver():
        yield CheckWarning(
            "This runserver speaks WSGI, which knows no WebSockets: handshakes get 404 or 426.",
            hint=f"{daphne_lines()}. Or start asgi.py with uvicorn.",
            id="pm_realtime.W027",
        )


def _is_elsewhere() -> bool:
    """Whether the settings lead the browser client to an address of its own."""
    found = getattr(settings, "PM_REALTIME", {})
    options = found.get("CLIENT") if isinstance(found, Mapping) else None
    return isinstance(options, Mapping) and bool(options.get("url"))


def _check_layer() -> Iterator[CheckMessage]:
    configured = getattr(settings, "CHANNEL_LAYERS", {})
    config = layer_config()
    if not isinstance(configured, Mapping):
        problem = f"CHANNEL_LAYERS must be a dict, got {type(configured).__name__}."
        hint = f"Write {_EXAMPLE}, or leave it out."
    elif config is not None:
        yield from _check_config(config)
        return
    elif conf.CHANNEL_LAYER in configured:
        kind = type(configured[conf.CHANNEL_LAYER]).__name__
        problem = f"{layer_name()} must be a dict with the key BACKEND, got one of type {kind}."
        hint = f"Write {_EXAMPLE}."
    elif configured or Conf.CHANNEL_LAYER.default != conf.CHANNEL_LAYER:
        problem = f'PM_REALTIME["CHANNEL_LAYER"]: {conf.CHANNEL_LAYER!r} is not in CHANNEL_LAYERS.'
        hint = f"CHANNEL_LAYERS has: {', '.join(map(str, configured or ())) or 'nothing'}."
    else:
        yield from _check_memory_layer()
        return
    yield Error(problem, hint=hint, id="pm_realtime.E011")


def _check_config(config: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    for key in config:
        if key not in _LAYER_KEYS:
            hint = did_you_mean(key, list(_LAYER_KEYS))
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
        options = {}
    path = config.get("BACKEND")
    if problem := describe_import_problem(path):
        yield Error(
            f'{layer_name()}["BACKEND"] {problem}.',
            hint=_hint_for_class(path),
            id="pm_realtime.E017",
        )
    elif path == _MEMORY:
        yield from _check_memory_layer()
        yield from _check_capacity(options)
    elif path == CORE_LAYER:
        yield from _check_capacity(options)
        yield from _check_socket_timeout(options)


def describe_import_problem(path: object) -> str:
    """Why ``path`` names no channel layer, as the rest of a sentence; empty if it does."""
    if path is None or path == "":
        return "is missing"
    if not isinstance(path, str):
        return f"must be a dotted path as text, got {path!r} ({type(path).__name__})"
    try:
        found = import_string(path)
    except Exception as error:
        return f"cannot be imported: {path!r} ({str(error).rstrip('.')})"
    return "" if callable(found) else f"cannot be made: {path!r} is no class"


def _hint_for_class(path: object) -> str:
    has_packages = is_installed("channels_redis") and is_installed("redis")
    if str(path).startswith(CHANNELS_REDIS) and not has_packages:
        return 'pip install "pm-realtime[redis]"'
    return did_you_mean(path, [PUBSUB_LAYER, CORE_LAYER, _MEMORY])


def _check_memory_layer() -> Iterator[CheckMessage]:
    # The test runner turns DEBUG off.
    if not settings.DEBUG and sys.argv[1:2] != ["test"]:
        yield CheckWarning(
            "The in-memory channel layer is in use with DEBUG = False: pushes from other "
            "processes (workers, shells, a second server) reach nobody.",
            hint=f"Set CHANNEL_LAYERS to {PUBSUB_LAYER}; one process alone may silence this.",
            id="pm_realtime.W002",
        )


def _check_capacity(options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    capacity = options.get("capacity", 100)
    if isinstance(capacity, int) and capacity < _MIN_LAYER_CAPACITY:
        yield CheckWarning(
            f"The channel layer drops what exceeds {capacity} waiting messages in silence; "
            "here one channel carries all pushes of a process.",
            hint=f"Set its capacity to {_MIN_LAYER_CAPACITY} or more, or use {PUBSUB_LAYER}.",
            id="pm_realtime.W003",
        )


def _check_socket_timeout(options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    timeout = short_socket_timeout(options.get("hosts"))
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
