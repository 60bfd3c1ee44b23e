"""All that this package needs of a channel layer. Each kind of layer has an adapter of its own.

A layer outside of this process may fail or not answer. Calls to it are few at once, bounded in time
and, while the circuit breaker of their event loop is open, refused.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeVar

from pm_realtime.concurrency import BoundedCalls, PerLoop
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer.wire import Message
from pm_realtime.observability import LAYER, log_refusal
from pm_realtime.redis import describe, is_lost_connection

if TYPE_CHECKING:
    from pm_realtime.layer.thread_publisher import ThreadPublisher, ThreadScripts

R = TypeVar("R")

LAYER_CALL_TIMEOUT_SECONDS: Final = 1.5
#: Calls of one event loop at once; each may need a connection of its own.
MAX_LAYER_CALLS: Final = 6
#: The beginning of each error text: a site that pushes sees what failed.
_ERROR_PREFIX: Final = "The channel layer: "
#: The beginning of the names of our channels.
CHANNEL_PREFIX: Final = "pm_realtime."
#: Names tried for each server to find a group that is on it.
NAMES_PER_SERVER: Final = 100
#: Stands in the outages for subscriptions that a layer itself reports as lost.
SUBSCRIPTIONS: Final = "subscriptions"


class Server(NamedTuple):
    """One of a layer's servers: its number among them, and its entry of ``hosts``."""

    number: int
    host: Mapping[str, Any]


class GuardedCalls:
    """Those of one event loop."""

    def __init__(self, timeout_seconds: float = LAYER_CALL_TIMEOUT_SECONDS) -> None:
        self.timeout_seconds = timeout_seconds
        self._calls = BoundedCalls(MAX_LAYER_CALLS, timeout_seconds)
        #: The reason to refuse all calls but probes; None while the circuit breaker is closed.
        self.outage_reason: str | None = None
        #: When the last process channel was closed, and when the next may be opened after one that
        #: failed (monotonic seconds).
        self.closed_at, self.may_open_at = -math.inf, 0.0

    async def run(self, call: Callable[[], Awaitable[R]], *, is_probe: bool) -> R:
        try:
            if is_probe:
                return await self._calls.run_at_once(call)
            self.check_breaker()
            return await self._calls.run(partial(self._run_if_closed, call))
        except BackendError:
            raise
        except Exception as error:
            kind, reason = BackendError, reason_of(error)
            if is_lost_connection(error):
                kind = OutageError
                log_refusal(LAYER, reason)
            raise kind(_ERROR_PREFIX + reason) from error

    async def _run_if_closed(self, call: Callable[[], Awaitable[R]]) -> R:
        self.check_breaker()
        return await call()

    def check_breaker(self) -> None:
        """Raise ``OutageError`` if the circuit breaker is open."""
        if self.outage_reason is not None:
            raise outage_error(self.outage_reason)


#: The guarded calls of each event loop.
calls_of_loop: Final = PerLoop(GuardedCalls)


def outage_error(reason: str) -> OutageError:
    """An error for callers that the layer fails because of ``reason``."""
    return OutageError(_ERROR_PREFIX + reason)


def reason_of(error: Exception) -> str:
    """The text of ``error`` for a log line that already names the layer."""
    if isinstance(error, BackendError):
        return str(error).removeprefix(_ERROR_PREFIX)
    text = describe(error)
    return text if isinstance(error, TimeoutError) else f"{type(error).__name__}: {text}"


class LayerAdapter:
    """For a layer of which only the common interface is known.

    Calls are guarded: they raise ``BackendError`` if the layer fails, and probes are tried even if
    the circuit breaker is open. ``receive`` raises whatever the layer raises, the others nothing.
    """

    #: Whether it reaches other processes.
    is_remote: ClassVar[bool] = True
    #: Whether a channel is certainly in a group once ``group_add`` has returned.
    confirms_joins: ClassVar[bool] = False
    #: Whether the messages that wait for a channel can be seen, and none of them is dropped.
    shows_waiting = False
    #: The times that sockets were closed on which the layer listens: messages may be lost.
    reconnects = 0

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    async def new_channel(self) -> str:
        name: str = await self._call(self.layer.new_channel, CHANNEL_PREFIX)
        return name

    async def group_add(self, group: str, channel: str, *, is_probe: bool = False) -> None:
        await self._call(self.layer.group_add, group, channel, is_probe=is_probe)

    async def group_discard(self, group: str, channel: str, *, is_probe: bool = False) -> None:
        await self._call(self.layer.group_discard, group, channel, is_probe=is_probe)

    async def group_send(self, group: str, message: Message, *, is_probe: bool = False) -> None:
        await self._call(self.layer.group_send, group, message, is_probe=is_probe)

    async def _call(
        self, method: Callable[..., Awaitable[Any]], *args: Any, is_probe: bool = False
    ) -> Any:
        return await calls_of_loop.get().run(partial(method, *args), is_probe=is_probe)

    async def receive(self, channel: str) -> Any:
        """The next message for ``channel``."""
        return await self.layer.receive(channel)

    async def receive_waiting(self, channel: str, messages: deque[Message], most: int) -> None:
        """Append the messages that need no waiting to ``messages``, up to ``most`` in all."""
        if self.shows_waiting and (queue := self.layer.channels.get(channel)) is not None:
            for _ in range(min(queue.qsize(), most - len(messages))):
                messages.append(await self.receive(channel))

    def one_group_of_each_server(self, name: Callable[[int], str]) -> list[str]:
        """Of the groups ``name(0)``, ``name(1)``, … one for each server of the layer.

        If the servers are not known, the first group.
        """
        found: dict[int, str] = {}
        with suppress(Exception):
            server_of, count = self._servers()
            for number in range(NAMES_PER_SERVER * count):
                found.setdefault(server_of(name(number)), name(number))
                if len(found) == count:
                    break
        return list(found.values()) or [name(0)]

    def _servers(self) -> tuple[Callable[[str], int], int]:
        """The function from a group to the number of its server, and the number of servers."""
        return lambda group: 0, 1

    def server_of(self, group: str) -> Server | None:
        """The server of ``group``, on which other things of the group may be kept too.

        None if it is not known. Raises ``BackendError`` if the layer's hosts cannot be used.
        """
        return None

    def servers(self) -> Sequence[Server | None]:
        """All that :meth:`server_of` returns for some group."""
        return [None]

    def publication(self, group: str, message: Message) -> tuple[str, bytes] | None:
        """The channel of Redis to which ``message`` for ``group`` is published, and the bytes.

        ASCII texts of the message stand in the bytes as they are: each may be replaced by another
        of the same length. None if that is not so, or if only the layer itself can send.
        """
        return None

    def forget_channel(self, channel: str) -> None:
        """Drop the messages for ``channel``, which is not read any more."""

    async def reconnect(self) -> None:
        """Open the sockets on which the layer listens in the running loop anew."""

    async def close_idle(self) -> None:
        """Close the sockets of the running loop that are open and unused.

        After a restart of the server each of them would fail once, one after the other.
        """

    def report_lost_subscriptions(self) -> None:
        """Report lost connections, which the layer itself only logs, as an outage from now on.

        The outage is that of :data:`SUBSCRIPTIONS`.
        """

    def publisher(self) -> "ThreadPublisher | None":
        """The kept connections over which threads send; None if only the layer itself can send.

        Raises ``BackendError`` if the layer's hosts cannot be used.
        """
        return None

    def scripts(self) -> "ThreadScripts | None":
        """The kept connections over which threads run scripts on the servers of groups.

        None if those are not known. Raises ``BackendError`` if the layer's hosts cannot be used.
        """
        return self.publisher()

    def close(self) -> None:
        """Close the sockets of threads; the next message opens one again."""
