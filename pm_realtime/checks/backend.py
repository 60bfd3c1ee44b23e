"""Checks of ``BACKEND`` and ``LOCATION``. A backend also has checks of its own."""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from pm_realtime.backends import (
    MEMORY,
    REDIS,
    Backend,
    RedisBackend,
    backend_path,
    check_hosts,
    get_backend,
)
from pm_realtime.checks.layer import describe_import_problem
from pm_realtime.conf import conf
from pm_realtime.layer import (
    CHANNELS_REDIS,
    PUBSUB_LAYER,
    is_on_redis,
    layer_config,
    layer_path,
)


def check_backend() -> Iterator[CheckMessage]:
    problem = "is no subclass of pm_realtime.backends.base.Backend"
    try:
        backend = get_backend()
    except Exception as error:
        backend, problem = None, f"could not be made ({error})"
    if not isinstance(backend, RedisBackend) and is_on_redis():
        yield from check_hosts()
    if isinstance(backend, Backend):
        found = backend.check()
        if layer_path().startswith(CHANNELS_REDIS) and describe_import_problem(layer_path()):
            # The package redis comes with channels-redis, so E017 is enough.
            found = [message for message in found if message.id != "pm_realtime.E015"]
        yield from found
        return
    yield Error(
        f'PM_REALTIME["BACKEND"]: {conf.BACKEND!r} {problem}.',
        hint="Leave the key out to have the one that fits CHANNEL_LAYERS.",
        id="pm_realtime.E013",
    )


def check_location() -> Iterator[CheckMessage]:
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
    """Whether a layer is configured that cannot be made, for which there is another message."""
    if layer_config() is None:
        return bool(getattr(settings, "CHANNEL_LAYERS", None))
    return bool(describe_import_problem((layer_config() or {}).get("BACKEND")))


def check_memory_backend() -> Iterator[CheckMessage]:
    if conf.BACKEND == MEMORY and is_on_redis():
        yield CheckWarning(
            'PM_REALTIME["BACKEND"] is MemoryBackend, but the channel layer is one of '
            "channels-redis: connections are counted, and limits hold, in each process by itself.",
            hint="Leave BACKEND out to have them counted over all processes.",
            id="pm_realtime.W009",
        )
