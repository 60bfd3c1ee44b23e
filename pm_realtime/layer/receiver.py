"""Receives the messages of a process channel and hands them to its hub."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from pm_realtime.conf import batch_window_seconds
from pm_realtime.layer.liveness import LivenessProbe
from pm_realtime.layer.memberships import Groups
from pm_realtime.layer.wire import PROBE_TYPE, Control, Message, group_of_push
from pm_realtime.observability import throttle

logger = logging.getLogger("pm_realtime.push")

#: Seconds between two attempts to receive from a layer that fails: the first and the longest.
FIRST_RECEIVE_RETRY_SECONDS: Final = 0.1
MAX_RECEIVE_RETRY_SECONDS: Final = 1.0
#: Messages that are received before any of them is handed on.
MAX_RECEIVED_MESSAGES: Final = 64
#: A group is busy if the delivery of its last message took at least so long.
BUSY_DELIVERY_SECONDS: Final = 0.001
#: Seconds between two looks at what has arrived for a busy group.
GATHER_POLL_SECONDS: Final = 0.0005


class MessageHandler(Protocol):
    """The hub's fan-out, as its process channel knows it."""

    def begin_turn(self) -> None: ...

    async def deliver(
        self, group: str, members: dict[str, Any], pushes: Sequence[Message]
    ) -> None: ...

    async def deliver_control(self, control: Control) -> None: ...

    def note_doubt(self, is_loss_likely: bool) -> None: ...


class Receiver:
    """Receives from the channel of ``probe``.

    ``note_stale`` gets each group without members from which a message arrives: a join was
    cancelled, or a leave failed.
    """

    def __init__(
        self,
        probe: LivenessProbe,
        groups: Groups[Any],
        handler: MessageHandler,
        note_stale: Callable[[str], None],
    ) -> None:
        self._probe = probe
        self._adapter, self._channel = probe.adapter, probe.channel
        self._groups = groups
        self._handler = handler
        self._note_stale = note_stale
        #: Received and not yet handed on, perhaps by a task that was cancelled.
        self._arrived: deque[Message] = deque()
        #: The group of the last push, how long its delivery took, and when that ended.
        self._last_group: str | None = None
        self._last_seconds = self._last_ended_at = 0.0

    async def run(self) -> None:
        """Receive until cancelled, whatever the layer raises."""
        delay = FIRST_RECEIVE_RETRY_SECONDS
        while True:
            error = await self._receive()
            self._handler.begin_turn()
            await self._hand_on()
            await asyncio.sleep(0)
            if error is None:
                delay = FIRST_RECEIVE_RETRY_SECONDS
                continue
            self._probe.mark_down(error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, MAX_RECEIVE_RETRY_SECONDS)

    async def _receive(self) -> Exception | None:
        """Wait for a message, unless some are here already; the error of the layer, if any."""
        adapter, channel = self._adapter, self._channel
        try:
            if not self._arrived:
                self._arrived.append(await adapter.receive(channel))
            await adapter.receive_waiting(channel, self._arrived, MAX_RECEIVED_MESSAGES)
            is_busy = self._last_seconds >= BUSY_DELIVERY_SECONDS
            if is_busy and adapter.is_remote and adapter.shows_waiting:
                await self._gather()
        except Exception as error:
            return error
        return None

    async def _gather(self) -> None:
        """Wait a moment for further messages of a busy group, to deliver them together.

        A server sends messages one by one, a round trip apart. The moment is as long as the last
        delivery took, at most a batch window. A message of another group ends it.
        """
        group, began, window = self._last_group, time.monotonic(), batch_window_seconds()
        if group is None or began - self._last_ended_at >= window:
            return
        until = began + min(self._last_seconds, window)
        while (
            group_of_push(self._arrived[-1]) == group
            and len(self._arrived) < MAX_RECEIVED_MESSAGES
            and time.monotonic() < until
        ):
            await asyncio.sleep(GATHER_POLL_SECONDS)
            await self._adapter.receive_waiting(self._channel, self._arrived, MAX_RECEIVED_MESSAGES)

    async def _hand_on(self) -> None:
        """Hand on all messages in order: a probe counts once those before it are delivered.

        If this task is cancelled meanwhile, the rest stays for the next one.
        """
        probe, task = self._probe, asyncio.current_task()
        while self._arrived:
            if task and task.cancelling():
                raise asyncio.CancelledError
            group, messages = self._take()
            began = time.monotonic()
            try:
                if group is None and messages[0].get("type") == PROBE_TYPE:
                    probe.receive(messages[0])
                else:
                    probe.is_delivering = True
                    await self._deliver(group, messages)
            except Exception:
                logger.exception("A message of the channel layer could not be delivered.")
            finally:
                if probe.is_delivering:
                    probe.is_delivering = False
                    probe.deliveries += 1
            self._last_group, self._last_ended_at = group, time.monotonic()
            self._last_seconds = self._last_ended_at - began

    def _take(self) -> tuple[str | None, list[Message]]:
        """The next pushes, if they are for one group, or one message of another kind."""
        message = self._arrived.popleft()
        group, messages = group_of_push(message), [message]
        while group and self._arrived and group_of_push(self._arrived[0]) == group:
            messages.append(self._arrived.popleft())
        return group, messages

    async def _deliver(self, group: str | None, messages: Sequence[Message]) -> None:
        if group is not None:
            if (entry := self._groups.get(group)) is None:
                self._note_stale(group)
            else:
                await self._handler.deliver(group, entry.members, messages)
            return
        try:
            control = Control.read(messages[0])
        except LookupError as error:
            if throttle.note(("control", str(error))):
                logger.warning("Ignored an unknown control message: %s.", error)
            return
        if control.group not in self._groups:
            self._note_stale(control.group)
            return
        await self._handler.deliver_control(control)
        # A connection that this closes is gone before the next message.
        await asyncio.sleep(0)
