"""What ``CHANNEL_LAYERS`` says of the layer behind ``CHANNEL_LAYER``."""

import inspect
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from pm_realtime.conf import conf


def layer_config() -> Mapping[str, Any] | None:
    """The entry of ``CHANNEL_LAYERS`` in use, None where there is none."""
    found = getattr(settings, "CHANNEL_LAYERS", None)
    config = found.get(conf.CHANNEL_LAYER) if isinstance(found, Mapping) else None
    return config if isinstance(config, Mapping) else None


def is_on_redis() -> bool:
    """Whether that layer is one of channels-redis, or made from one."""
    config = layer_config() or {}
    try:
        found = import_string(str(config.get("BACKEND")))
    except ImportError:
        return False
    return any(base.__module__.startswith("channels_redis.") for base in inspect.getmro(found))
