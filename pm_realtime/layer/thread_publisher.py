"""Runs scripts on the servers of a layer, and sends to the groups of a pub/sub layer, from any
thread and over a few sockets that are kept."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from pm_realtime.exceptions import OutageError
from pm_realtime.layer.adapter import LAYER_CALL_TIMEOUT_SECONDS, Server
from pm_realtime.layer.wire import Message
from pm_realtime.observability import LAYER, log_refusal, outage
from pm_realtime.redis import Part, Publisher

#: Connections of one process to each of the layer's servers, and so the threads that send at once.
CONNECTIONS_PER_SERVER: Final = 4


class Servers(Protocol):
    """The servers of a layer."""

    @property
    def prefix(self) -> str: ...

    def servers(self) -> Sequence[Server]: ...

    def server_of(self, group: str) -> Server: ...


class Names(Servers, Protocol):
    """Those of a pub/sub layer, and the channels of its groups."""

    def channel_of(self, group: str) -> str: ...


class ThreadScripts:
    """One script on a kept socket. The clients of an event loop belong to that loop."""

    def __init__(self, servers: Servers, clock: Callable[[], float] = time.monotonic) -> None:
        self._servers = servers
        self._suspicions = outage.suspicions
        key = unused_key(servers.prefix)
        self._publishers = [
            Publisher(
                server.host,
                key,
                max_sockets=CONNECTIONS_PER_SERVER,
                max_wait_seconds=LAYER_CALL_TIMEOUT_SECONDS,
                clock=clock,
            )
            for server in servers.servers()
        ]

    def run(self, group: str, script: str, keys: Sequence[str], arguments: Sequence[Part]) -> Any:
        """The answer of ``script`` on the server of ``group``, in bytes.

        Raises ``BackendError`` if Redis does not give it in time. A script whose socket breaks is
        run once more.
        """
        return self._call(group, lambda each: each.run(script, keys, arguments))

    def _call(self, group: str, call: Callable[[Publisher], Any]) -> Any:
        if self._suspicions != outage.suspicions:
            self._suspicions = outage.suspicions
            for publisher in self._publishers:
                publisher.renew()
        try:
            return call(self._publishers[self._servers.server_of(group).number])
        except OutageError as error:
            log_refusal(LAYER, str(error))
            raise

    def close(self) -> None:
        """Close all sockets; the next message opens one again."""
        for publisher in self._publishers:
            publisher.close()


class ThreadPublisher(ThreadScripts):
    """Also one PUBLISH on a kept socket.

    The layer itself needs an event loop and, with ``async_to_sync``, a new connection to Redis for
    each message.
    """

    def __init__(
        self,
        names: Names,
        serialize: Callable[[Message], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(names, clock)
        self._names = names
        self._serialize = serialize

    def send(self, group: str, message: Message) -> None:
        """Publish ``message``. Raises ``BackendError`` if Redis does not take it in time."""
        text = self._serialize(message)
        self._call(group, lambda each: each.publish(self._names.channel_of(group), text))


def unused_key(prefix: str) -> str:
    """A key that is never set, among those of the shared state of a layer with this prefix."""
    return f"pm_realtime:{{{prefix}}}:unused"
