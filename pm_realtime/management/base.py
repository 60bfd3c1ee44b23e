"""The base of the management commands: access to other processes, errors and output."""

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from channels.exceptions import InvalidChannelLayerError
from channels.layers import BaseChannelLayer
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from pm_realtime.backends import (
    Backend,
    MemoryBackend,
    Stats,
    StreamStats,
    get_backend,
    get_streams,
)
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import PUBSUB_LAYER, get_layer, is_in_process

R = TypeVar("R")


class UnreachableError(CommandError):
    """The shared state cannot be reached."""


class RealtimeCommand(BaseCommand):
    """A command about connections of other processes.

    In memory it works for the connections of its own process, by ``call_command``.
    """

    # Relevant mistakes in the settings end in one sentence instead.
    requires_system_checks: list[str] = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (ImproperlyConfigured, ImportError, InvalidChannelLayerError) as error:
            raise CommandError(f"{error} (`manage.py check` may say more.)") from error

    def ask_stats(self) -> Stats:
        """The counts over all processes.

        Raises :exc:`UnreachableError`, and Django's ``CommandError`` if this process can never see
        any connection with these settings.
        """
        # Otherwise an invalid layer would look like one in memory.
        find_layer()
        backend = get_backend()
        try:
            stats = backend.run(backend.get_stats())
        except BackendError as error:
            raise UnreachableError(f"The shared state cannot be reached. {error}") from error
        if isinstance(backend, MemoryBackend) and not stats["totalConnections"]:
            # A backend named in the settings stays in memory with any layer.
            named = ' and leave out PM_REALTIME["BACKEND"]' if conf.BACKEND else ""
            raise CommandError(
                "The connections cannot be counted from here: this process holds none, and state "
                "in memory shows nothing of the processes that serve the site. Set CHANNEL_LAYERS "
                f"to {PUBSUB_LAYER}{named}; then all processes count together."
            )
        return stats

    def ask_streams(self) -> StreamStats | None:
        """The counts of the streams; None if their store does not count them.

        Raises :exc:`UnreachableError`.
        """
        try:
            return get_backend().run(get_streams().get_stats())
        except BackendError as error:
            raise UnreachableError(f"The shared state cannot be reached. {error}") from error

    def ask_backend(self, question: Callable[[Backend], Coroutine[Any, Any, R]]) -> R | None:
        """The answer of the backend, None if it does not know all connections of the layer."""
        backend = get_backend()
        if isinstance(backend, MemoryBackend) and not is_in_process(find_layer()):
            return None
        try:
            return backend.run(question(backend))
        except BackendError:
            return None

    def require_reach(self) -> None:
        """Raise Django's ``CommandError`` if pushes of this process can reach no connection."""
        layer = find_layer()
        if is_in_process(layer) and not any(getattr(layer, "groups", {}).values()):
            raise CommandError(
                "Nothing was sent: this process holds no connection, and the channel layer in "
                "memory does not reach the processes that serve the site. Set CHANNEL_LAYERS to "
                f"{PUBSUB_LAYER}; then commands reach every connection."
            )

    def write_json(self, data: Any) -> None:
        """Print ``data`` as JSON on one line, in ASCII if the output cannot encode it."""
        line = json.dumps(data, ensure_ascii=False)
        if shown_on(self.stdout, line) != line:
            line = json.dumps(data)
        self.stdout.write(line)
        self.stdout.flush()


def find_layer() -> BaseChannelLayer:
    """The channel layer. Raises Django's ``CommandError`` if the settings have no valid one."""
    alias = conf.CHANNEL_LAYER
    layers = getattr(settings, "CHANNEL_LAYERS", None) or {}
    if not isinstance(layers, Mapping):
        raise _no_layer("CHANNEL_LAYERS", f"got a {type(layers).__name__}")
    name, config = f'CHANNEL_LAYERS["{alias}"]', layers.get(alias, {})
    if not isinstance(config, Mapping):
        raise _no_layer(name, f"got a {type(config).__name__}")
    try:
        layer = get_layer()
    except ImproperlyConfigured:
        raise
    except InvalidChannelLayerError as error:
        why = error.__context__
        if not isinstance(why, ImportError):
            raise
        missing = getattr(why, "name", None) in ("channels_redis", "redis", "msgpack")
        advice = ' Install it with: pip install "pm-realtime[redis]"' if missing else ""
        raise CommandError(
            f"{name} names a BACKEND that cannot be imported, {config['BACKEND']!r}: {why}.{advice}"
        ) from error
    except Exception as error:  # The class may raise anything for its CONFIG.
        raise _no_layer(name, f"this one cannot be made: {error}") from error
    if not hasattr(layer, "group_send"):
        raise _no_layer(name, f"{config.get('BACKEND')!r} makes no channel layer")
    return layer


def _no_layer(name: str, found: str) -> CommandError:
    hosts = '"hosts": ["redis://127.0.0.1:6379/0"]'
    example = f'{{"BACKEND": "{PUBSUB_LAYER}", "CONFIG": {{{hosts}}}}}'
    if name == "CHANNEL_LAYERS":
        example = f'{{"default": {example}}}'
    return CommandError(f"{name} must describe a channel layer, such as {example}, but {found}.")


def shown_on(output: OutputWrapper, text: str) -> str:
    """``text`` with escapes for characters that ``output`` cannot show or encode.

    So a name can neither break a line nor control the terminal.
    """
    plain = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    encoding = getattr(output, "encoding", None) or "utf-8"
    return plain.encode(encoding, "backslashreplace").decode(encoding)
