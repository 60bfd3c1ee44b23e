"""Sends to the groups of a pub/sub layer from any thread, over a few sockets that are kept."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from pm_realtime.exceptions import OutageError
from pm_realtime.layer.adapter import LAYER_CALL_TIMEOUT_SECONDS, Server
from pm_realtime.layer.wire import Message
from pm_realtime.observability import LAYER, log_refusal
from pm_realtime.redis import Part, Publisher

#: Connections of one process to each of the layer's servers, and so the threads that send at once.
CONNECTIONS_PER_SERVER: Final = 4


class Names(Protocol):
    """The channels of the groups of a pub/sub layer, and its servers."""

    @property
    def prefix(self) -> str: ...

    @property
    def servers(self) -> Sequence[Server]: ...

    def channel_of(self, group: str) -> str: ...

    def server_of(self, group: str) -> Server: ...


class ThreadPublisher:
    """One PUBLISH, or one script, on a kept socket.

    The layer itself needs an event loop and, with ``async_to_sync``, a new connection to Redis for
    each message.
    """

    def __init__(
        self,
        names: Names,
        serialize: Callable[[Message], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._serialize = serialize
        key = unused_key(names.prefix)
        self._publishers = [
            Publisher(
                server.host,
                key,
                max_sockets=CONNECTIONS_PER_SERVER,
                max_wait_seconds=LAYER_CALL_TIMEOUT_SECONDS,
                clock=clock,
            )
            for server in names.servers
        ]

    def send(self, group: str, message: Message) -> None:
        """Publish ``message``. Raises ``BackendError`` if Redis does not take it in time."""
        text = self._serialize(message)
        self._call(group, lambda each: each.publish(self._names.channel_of(group), text))

    def run(self, group: str, script: str, keys: Sequence[str], arguments: Sequence[Part]) -> Any:
        """The answer of ``script`` on the server of ``group``, in bytes.

        Raises ``BackendError`` as :meth:`send`. A script whose socket breaks is run once more.
        """
        return self._call(group, lambda each: each.run(script, keys, arguments))

    def _call(self, group: str, call: Callable[[Publisher], Any]) -> Any:
        try:
            return call(self._publishers[self._names.server_of(group).number])
        except OutageError as error:
            log_refusal(LAYER, str(error))
            raise

    def close(self) -> None:
        """Close all sockets; the next message opens one again."""
        for publisher in self._publishers:
            publisher.close()


def unused_key(prefix: str) -> str:
    """A key that is never set, among those of the shared state of a layer with this prefix."""
    return f"pm_realtime:{{{prefix}}}:unused"
