"""The backend in use: the one that ``BACKEND`` names, or the one that fits the channel layer."""

import copy
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pm_realtime.backends.base import Backend
from pm_realtime.backends.presence import PresenceStore
from pm_realtime.backends.results import Results
from pm_realtime.backends.streams import Streams
from pm_realtime.conf import conf
from pm_realtime.layer import is_on_redis, layer_config

MEMORY: Final = "pm_realtime.backends.memory.MemoryBackend"
REDIS: Final = "pm_realtime.backends.redis.RedisBackend"

_KEY: Final = "backend"
#: The backend in use and what :func:`_wanted` returned for it.
_made: Final[dict[str, tuple[Backend, Any]]] = {}
_streams: Streams | None = None


def get_backend() -> Backend:
    """The backend of this process, made at its first use.

    Raises ``ImportError`` if ``BACKEND`` cannot be imported.
    """
    made = _made.get(_KEY)
    if made is None:
        # Several threads may come here at once. All of them get the backend that is set first.
        made = _made.setdefault(_KEY, (import_string(backend_path())(), _wanted()))
    return made[0]


def get_streams() -> Streams:
    """The streams of the backend in use, or those of :func:`use_streams`."""
    return _streams if _streams is not None else get_backend().streams


def get_results() -> Results:
    """The results of commands that the backend in use keeps."""
    return get_backend().results


def get_presence_store() -> PresenceStore:
    """The members of rooms that the backend in use keeps."""
    return get_backend().presence


def use_streams(streams: Streams | None) -> None:
    """Have :func:`get_streams` return ``streams``, or those of the backend again if it is None."""
    global _streams
    _streams = streams


def backend_path() -> str:
    """The dotted path of the backend that the settings ask for, or that fits the layer."""
    return conf.BACKEND or (REDIS if is_on_redis() else MEMORY)


def _wanted() -> Any:
    """The settings that decide which backend is used and where it is."""
    path = backend_path()
    if path == MEMORY:
        return path
    own = [conf.user_settings.get(name) for name in ("LOCATION", "NAMESPACE")]
    return path, own, copy.deepcopy(layer_config())


def _reset(*, setting: str, **kwargs: Any) -> None:
    if setting not in ("PM_REALTIME", "CHANNEL_LAYERS") or _KEY not in _made:
        return
    try:
        is_wanted = _made[_KEY][1] == _wanted()
    except ImproperlyConfigured:
        is_wanted = False
    if not is_wanted:
        del _made[_KEY]


setting_changed.connect(_reset, dispatch_uid="pm_realtime.backends")
