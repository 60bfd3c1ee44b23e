"""The entry of ``CHANNEL_LAYERS`` behind ``CHANNEL_LAYER``."""

import inspect
from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.utils.module_loading import import_string

from pm_realtime.conf import conf

CHANNELS_REDIS: Final = "channels_redis."
PUBSUB_LAYER: Final = "channels_redis.pubsub.RedisPubSubChannelLayer"
CORE_LAYER: Final = "channels_redis.core.RedisChannelLayer"


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
