"""The entry of ``CHANNEL_LAYERS`` behind ``CHANNEL_LAYER``, that layer and its adapter."""

import atexit
import inspect
import threading
from collections.abc import Mapping
from typing import Any, Final

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from pm_realtime.concurrency import after_fork
from pm_realtime.conf import conf
from pm_realtime.layer.adapter import LayerAdapter
from pm_realtime.layer.channels_redis import CoreAdapter, CoreLayer, PubSubAdapter, PubSubLayer
from pm_realtime.layer.local import InMemoryAdapter, LocalChannelLayer
from pm_realtime.redis import databases_of

CHANNELS_REDIS: Final = "channels_redis."
PUBSUB_LAYER: Final = "channels_redis.pubsub.RedisPubSubChannelLayer"
CORE_LAYER: Final = "channels_redis.core.RedisChannelLayer"

_lock = threading.Lock()
_current: LayerAdapter | None = None


def layer_config() -> Mapping[str, Any] | None:
    """The entry of ``CHANNEL_LAYERS`` in use, None if there is none."""
    found = getattr(settings, "CHANNEL_LAYERS", None)
    config = found.get(conf.CHANNEL_LAYER) if isinstance(found, Mapping) else None
    return config if isinstance(config, Mapping) else None


def is_on_redis() -> bool:
    """Whether that layer is one of channels-redis, or a subclass of one."""
    path = layer_path()
    if path.startswith(CHANNELS_REDIS):
        return True  # Even if it is not installed: the state must not fall back to memory.
    try:
        found = import_string(path)
    except Exception:
        return False
    bases = inspect.getmro(found) if inspect.isclass(found) else ()
    return any(base.__module__.startswith(CHANNELS_REDIS) for base in bases)


def is_of_another_kind() -> bool:
    """Whether that layer is neither in memory nor one of channels-redis, as far as is known."""
    try:
        found = import_string(layer_path())
    except Exception:
        return False
    is_in_memory = inspect.isclass(found) and issubclass(found, InMemoryChannelLayer)
    return callable(found) and not is_in_memory and not is_on_redis()


def separate_databases() -> tuple[int, ...]:
    """The numbers of the databases of the layer's hosts that the layer itself does not keep apart.

    The core layer does: its groups are keys. All others may use pub/sub.
    """
    try:
        if issubclass(import_string(layer_path()), CoreLayer):
            return ()
    except Exception:
        return ()  # There is no such layer, and no message of it.
    try:
        return databases_of(layer_options().get("hosts"))
    except ValueError:
        return ()  # Hosts that only the layer understands.


def layer_path() -> str:
    """The ``BACKEND`` of that layer; empty if it is not text."""
    path = (layer_config() or {}).get("BACKEND")
    return path if isinstance(path, str) else ""


def layer_options() -> Mapping[str, Any]:
    """The ``CONFIG`` of that layer. Raises ``ValueError`` if it is not a dict."""
    options = (layer_config() or {}).get("CONFIG")
    if options is not None and not isinstance(options, Mapping):
        kind = type(options).__name__
        raise ValueError(f'{layer_name()}["CONFIG"] must be a dict, got one of type {kind}.')
    return options or {}


def layer_name() -> str:
    """The name of that layer in messages."""
    return f'CHANNEL_LAYERS["{conf.CHANNEL_LAYER}"]'


def get_layer() -> BaseChannelLayer:
    """The layer behind ``CHANNEL_LAYER``; one of our own if ``CHANNEL_LAYERS`` is not set.

    Raises ``ImproperlyConfigured`` if ``CHANNEL_LAYERS`` is set and lacks the alias.
    """
    alias = conf.CHANNEL_LAYER
    try:
        return channel_layers[alias]
    except KeyError:
        if configured := getattr(settings, "CHANNEL_LAYERS", None):
            raise ImproperlyConfigured(
                f'PM_REALTIME["CHANNEL_LAYER"] names {alias!r}, '
                f"but CHANNEL_LAYERS has only: {', '.join(configured)}."
            ) from None
        layer = LocalChannelLayer()
        channel_layers.set(alias, layer)
        return layer


def adapter_for(layer: BaseChannelLayer) -> LayerAdapter:
    """The adapter of ``layer``; that of the layer which was used last is kept."""
    global _current
    found = _current
    if found is None or found.layer is not layer:
        with _lock:
            found = _current
            if found is None or found.layer is not layer:
                _close()
                found = _current = _adapter_class(layer)(layer)
    return found


def _adapter_class(layer: object) -> type[LayerAdapter]:
    if isinstance(layer, InMemoryChannelLayer):
        return InMemoryAdapter
    if isinstance(layer, PubSubLayer):
        return PubSubAdapter
    return CoreAdapter if isinstance(layer, CoreLayer) else LayerAdapter


@atexit.register
def _close() -> None:
    if _current is not None:
        _current.close()


def _forget() -> None:
    """A forked child opens sockets of its own and leaves those of its parent alone."""
    global _lock, _current
    _lock, _current = threading.Lock(), None


after_fork(_forget)
