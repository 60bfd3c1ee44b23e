"""What the management commands share: whom they can see and reach, and how they print."""

import json
from typing import Any

from channels.exceptions import InvalidChannelLayerError
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from pm_realtime.backends import get_backend
from pm_realtime.backends.base import Stats
from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError
from pm_realtime.layers import get_layer, is_in_process

SHARED_LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"


class RealtimeCommand(BaseCommand):
    """A command about connections that other processes hold.

    Inside a process that holds some itself, by ``call_command``, it works in memory too.
    """

    # What is wrong with the settings that matter here is said in one sentence instead.
    requires_system_checks: list[str] = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (ImproperlyConfigured, ImportError, InvalidChannelLayerError) as error:
            raise CommandError(f"{error} (`manage.py check` may say more.)") from error

    def ask_stats(self) -> Stats:
        """The counts over all processes.

        Raises ``BackendError`` while they cannot be had, and Django's ``CommandError`` where these
        settings never let this process see any.
        """
        backend = get_backend()
        stats = backend.run(backend.get_stats())
        if isinstance(backend, MemoryBackend) and not stats["totalConnections"]:
            # A backend named in the settings stays in memory whatever the layer is.
            named = ' and leave out PM_REALTIME["BACKEND"]' if conf.BACKEND else ""
            raise CommandError(
                "The connections cannot be counted from here: this process holds none, and state "
                "in memory shows nothing of the processes that serve the site. Set CHANNEL_LAYERS "
                f"to {SHARED_LAYER}{named}; then all processes count together."
            )
        return stats

    def require_reach(self) -> None:
        """Raise Django's ``CommandError`` where nothing sent from this process can arrive."""
        layer = get_layer()
        if is_in_process(layer) and not any(getattr(layer, "groups", {}).values()):
            raise CommandError(
                "Nothing was sent: this process holds no connection, and the channel layer in "
                "memory does not reach the processes that serve the site. Set CHANNEL_LAYERS to "
                f"{SHARED_LAYER}; then commands reach every connection."
            )

    def write_json(self, data: Any) -> None:
        """Print ``data`` as JSON on one line, in ASCII where that is all the output takes."""
        line = json.dumps(data, ensure_ascii=False)
        if shown_on(self.stdout, line) != line:
            line = json.dumps(data)
        self.stdout.write(line)
        self.stdout.flush()


def unreachable(error: BackendError) -> CommandError:
    """The sentence about the state that cannot be reached."""
    return CommandError(f"The shared state cannot be reached. {error}")


def shown_on(output: OutputWrapper, text: str) -> str:
    """``text`` with escapes in place of what has no picture or no place in ``output``'s encoding.

    So a name can neither break a line nor steer the terminal.
    """
    plain = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    encoding = getattr(output, "encoding", None) or "utf-8"
    return plain.encode(encoding, "backslashreplace").decode(encoding)
