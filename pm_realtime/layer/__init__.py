"""The channel layer: its configuration, and everything that depends on its kind."""

from pm_realtime.layer.adapters import adapter_for
from pm_realtime.layer.channels_redis import BLOCKING_SECONDS, short_socket_timeout
from pm_realtime.layer.config import (
    CHANNELS_REDIS,
    CORE_LAYER,
    PUBSUB_LAYER,
    is_on_redis,
    layer_config,
    layer_name,
    layer_options,
    layer_path,
)
from pm_realtime.layer.contract import SUBSCRIPTIONS, LayerAdapter

__all__ = [
    "BLOCKING_SECONDS",
    "CHANNELS_REDIS",
    "CORE_LAYER",
    "PUBSUB_LAYER",
    "SUBSCRIPTIONS",
    "LayerAdapter",
    "adapter_for",
    "is_on_redis",
    "layer_config",
    "layer_name",
    "layer_options",
    "layer_path",
    "short_socket_timeout",
]
