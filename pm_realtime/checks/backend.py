"""Checks of ``BACKEND`` and ``LOCATION``. A backend also has checks of its own."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from pm_realtime import backends, layer
from pm_realtime.checks.layer import describe_import_problem
from pm_realtime.conf import conf


def check_backend() -> Iterator[CheckMessage]:
    problem = "is no subclass of pm_realtime.backends.base.Backend"
    try:
        backend = backends.get_backend()
    except Exception as error:
        backend, problem = None, f"could not be made ({error})"
    if not isinstance(backend, backends.RedisBackend) and layer.is_on_redis():
        yield from backends.check_hosts()
    if not isinstance(backend, backends.Backend):
        yield Error(
            f'PM_REALTIME["BACKEND"]: {conf.BACKEND!r} {problem}.',
            hint="Leave the key out to have the one that fits CHANNEL_LAYERS.",
            id="pm_realtime.E013",
        )
        return
    path = layer.layer_path()
    is_reported = path.startswith(layer.CHANNELS_REDIS) and describe_import_problem(path)
    for message in backend.check():
        # The package redis comes with channels-redis, so E017 is enough.
        if not (is_reported and message.id == "pm_realtime.E015"):
            yield message


def check_servers(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The checks of the backend that ask its servers; none if it cannot be made."""
    try:
        backend = backends.get_backend()
    except Exception:
        return []  # The check of the settings reports it.
    return backend.check_servers() if isinstance(backend, backends.Backend) else []


def check_memory() -> Iterator[CheckMessage]:
    """Check that state is not kept in memory against the intention of the settings."""
    is_in_memory = backends.backend_path() == backends.MEMORY
    if conf.LOCATION is not None and is_in_memory and (conf.BACKEND or not _is_layer_broken()):
        why = (
            "BACKEND says so" if conf.BACKEND else "the channel layer is not one of channels-redis"
        )
        yield CheckWarning(
            f'PM_REALTIME["LOCATION"] has no effect: the state is kept in memory, because {why}.',
            hint=f"Set CHANNEL_LAYERS to {layer.PUBSUB_LAYER}, or BACKEND to {backends.REDIS!r}.",
            id="pm_realtime.W007",
        )
    if is_in_memory and layer.is_of_another_kind():
        yield CheckWarning(
            f"{layer.layer_name()}: {layer.layer_path()!r} is a layer to which no shared state "
            "belongs: connections are counted, and limits hold, in each process by itself, and "
            "nothing is kept for clients that come back.",
            hint=f"Set BACKEND to {backends.REDIS!r} and LOCATION to a Redis URL such as "
            '"redis://localhost:6379/0"; one process alone may silence this.',
            id="pm_realtime.W024",
        )
    if conf.BACKEND == backends.MEMORY and layer.is_on_redis():
        yield CheckWarning(
            'PM_REALTIME["BACKEND"] is MemoryBackend, but the channel layer is one of '
            "channels-redis: connections are counted, and limits hold, in each process by itself, "
            "and nothing is kept for clients that come back.",
            hint="Leave BACKEND out to have all of this over all processes.",
            id="pm_realtime.W009",
        )


def _is_layer_broken() -> bool:
    """Whether a layer is configured that cannot be made, for which there is another message."""
    config = layer.layer_config()
    if config is None:
        return bool(getattr(settings, "CHANNEL_LAYERS", None))
    return bool(describe_import_problem(config.get("BACKEND")))
