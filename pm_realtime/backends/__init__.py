"""The backend in use: ``BACKEND``, or the one that fits the channel layer."""

import threading
from typing import Any, Final

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pm_realtime.backends.base import Backend
from pm_realtime.conf import conf

MEMORY: Final = "pm_realtime.backends.memory.MemoryBackend"

_lock: Final = threading.Lock()
_backend: Backend | None = None
_made_for: Any = None


def get_backend() -> Backend:
    """The backend of this process, made at its first use.

    Raises ``ImportError`` where ``BACKEND`` names nothing that can be imported.
    """
    global _backend, _made_for
    if _backend is None:
        with _lock:
            if _backend is None:
                _made_for = _wanted()
                _backend = import_string(backend_path())()
    return _backend


def backend_path() -> str:
    """The dotted path of the backend that the settings ask for."""
    return conf.BACKEND or MEMORY


def _wanted() -> Any:
    """``BACKEND`` and ``LOCATION`` as they were written, right or wrong."""
    return conf.user_settings.get("BACKEND") or MEMORY, conf.user_settings.get("LOCATION")


def _reset(*, setting: str, **kwargs: Any) -> None:
    global _backend
    if setting in ("PM_REALTIME", "CHANNEL_LAYERS") and _made_for != _wanted():
        _backend = None


setting_changed.connect(_reset, dispatch_uid="pm_realtime.backends")
