"""The channel layer: its configuration, and everything that depends on its kind."""

from pm_realtime.layer.config import (
    CHANNELS_REDIS,
    is_on_redis,
    layer_config,
    layer_name,
    layer_options,
    layer_path,
)

__all__ = [
    "CHANNELS_REDIS",
    "is_on_redis",
    "layer_config",
    "layer_name",
    "layer_options",
    "layer_path",
]
