"""The backend in use: the one that ``BACKEND`` names, or the one that fits the channel layer."""

import copy
import threading
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pm_realtime.backends.base import Backend
from pm_realtime.concurrency import after_fork
from pm_realtime.conf import conf
from pm_realtime.layer import is_on_redis, layer_config

MEMORY: Final = "pm_realtime.backends.memory.MemoryBackend"
REDIS: Final = "pm_realtime.backends.redis.RedisBackend"

_lock = threading.Lock()
_backend: Backend | None = None
_made_for: Any = None


def get_backend() -> Backend:
    """The backend of this process, made at its first use.

    Raises ``ImportError`` if ``BACKEND`` cannot be imported.
    """
    global _backend, _made_for
    if _backend is None:
        with _lock:
            if _backend is None:
                _made_for = _wanted()
                _backend = import_string(backend_path())()
    return _backend


def backend_path() -> str:
    """The dotted path of the backend that the settings ask for, or that fits the layer."""
    return conf.BACKEND or (REDIS if is_on_redis() else MEMORY)


def _wanted() -> Any:
    """The settings that decide which backend is used and where it is."""
    path = backend_path()
    if path == MEMORY:
        return path
    return path, conf.user_settings.get("LOCATION"), copy.deepcopy(layer_config())


def _reset(*, setting: str, **kwargs: Any) -> None:
    global _backend
    if setting not in ("PM_REALTIME", "CHANNEL_LAYERS") or _backend is None:
        return
    try:
        is_wanted = _made_for == _wanted()
    except ImproperlyConfigured:
        is_wanted = False
    if not is_wanted:
        _backend = None


def _forget() -> None:
    """A forked child may inherit a lock that is held by a thread which it does not have."""
    global _lock
    _lock = threading.Lock()


after_fork(_forget)
setting_changed.connect(_reset, dispatch_uid="pm_realtime.backends")
