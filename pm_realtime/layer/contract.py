"""The contract of layer adapters: all that this package needs of a layer beyond its interface."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

from channels.layers import BaseChannelLayer

from pm_realtime.layer.wire import Message

#: Stands in the outages for subscriptions that a layer itself reports as lost.
SUBSCRIPTIONS: Final = "subscriptions"


class Publisher(Protocol):
    """Sends to groups from any thread, without an event loop."""

    def send(self, group: str, message: Message) -> None:
        """Send ``message`` to ``group``. Raises ``BackendError`` if it is not taken in time."""


class LayerAdapter:
    """For a layer of which only the common interface is known. Each kind of layer has its own.

    Except for :meth:`receive` and :meth:`receive_waiting`, no method raises.
    """

    #: Whether a channel is certainly in a group once ``group_add`` has returned.
    confirms_joins: ClassVar[bool] = False
    #: Whether :meth:`receive_waiting` receives anything.
    shows_waiting: ClassVar[bool] = False

    def __init__(self, layer: BaseChannelLayer) -> None:
        self.layer: Any = layer

    @property
    def group_expiry(self) -> float | None:
        """Seconds after which the layer forgets who is in a group, None if it does not."""
        return getattr(self.layer, "group_expiry", None) or None

    def one_group_of_each_server(self, name: Callable[[int], str]) -> list[str]:
        """Of the groups ``name(0)``, ``name(1)``, … one for each server of the layer.

        If the servers are not known, the first group.
        """
        return [name(0)]

    async def receive(self, channel: str) -> Message:
        """The next message for ``channel``. Raises whatever the layer raises."""
        message: Message = await self.layer.receive(channel)
        return message

    async def receive_waiting(self, channel: str, messages: deque[Message], most: int) -> None:
        """Append the messages that need no waiting to ``messages``, up to ``most`` in all.

        Appends none if the layer does not show them. Raises as :meth:`receive` does.
        """
        queue = self._queue(channel)
        for _ in range(min(queue.qsize(), most - len(messages)) if queue is not None else 0):
            messages.append(await self.receive(channel))

    def _queue(self, channel: str) -> "asyncio.Queue[Any] | None":
        """The messages that wait for ``channel``; none of them is dropped before it is received."""
        return None

    def forget_channel(self, channel: str) -> None:
        """Drop the messages for ``channel``, which is not read any more."""

    def forget_failed_channels(self, prefix: str) -> None:
        """Drop the queue that ``new_channel(prefix)`` left in the running loop when it failed."""

    async def reconnect(self) -> None:
        """Open the sockets on which the layer listens in the running loop anew."""

    async def close_idle(self) -> None:
        """Close the sockets of the running loop that are open and unused.

        After a restart of the server each of them would fail once, one after the other.
        """

    async def release(self) -> None:
        """Close all sockets of the running loop, if no channel and no group is in use there."""

    def report_lost_subscriptions(self) -> None:
        """Report lost connections, which the layer itself only logs, as an outage from now on.

        The outage is that of :data:`SUBSCRIPTIONS`.
        """

    def publisher(self, timeout: float) -> Publisher | None:
        """The kept connections over which threads send; None if only the layer itself can send.

        ``timeout`` is in seconds, for each message. Unlike the other methods this one raises
        ``BackendError``, if the layer's hosts cannot be used.
        """
        return None

    def close(self) -> None:
        """Close the sockets of the publisher; the next message opens one again."""
