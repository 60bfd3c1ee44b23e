"""Keeps the members of groups at the top of their streams, whatever gets lost on the way."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, Protocol

from pm_realtime.backends import get_streams
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError
from pm_realtime.hub.fan_out import FanOut
from pm_realtime.layer import Control, PresenceChanged
from pm_realtime.streams import (
    CheckTimings,
    ControlStream,
    GroupStream,
    Member,
    Message,
    PageReader,
    PositionChecks,
    Registry,
    bursts,
)

logger = logging.getLogger("pm_realtime.push")

#: A message that is in its stream, but does not arrive for so long, is read.
LATE_MESSAGE_SECONDS: Final = 0.2
#: A message that was only overtaken by others arrives within this time, and need not be read.
OVERTAKEN_SECONDS: Final = 0.005


class PresenceObserver(Protocol):
    """The pictures of rooms in an event loop."""

    def note_change(self, room: str) -> None:
        """The members of ``room`` have changed."""

    def note_doubt(self) -> None:
        """Changes may have been missed."""


class Follower:
    """Belongs to one hub. Its process channel uses it as a ``MessageHandler``."""

    def __init__(
        self, registry: Registry, fan_out: FanOut, reader: PageReader, timings: CheckTimings
    ) -> None:
        self._registry = registry
        self._fan_out = fan_out
        self._reader = reader
        self._retry_seconds = timings.retry_seconds
        self.control = ControlStream(registry)
        #: The streams of all groups with members, by group.
        self.streams: dict[str, GroupStream] = {}
        self.checks = PositionChecks(
            lambda: [*self.streams], self.check, self.control.catch_up, timings
        )
        self._fills: dict[GroupStream, asyncio.Task[None]] = {}
        self.presence: PresenceObserver | None = None

    def begin_turn(self) -> None:
        self._fan_out.begin_turn()

    async def deliver(
        self, group: str, members: dict[str, Member], pushes: Sequence[dict[str, Any]]
    ) -> None:
        messages = [Message.of_push(group, push) for push in pushes]
        if (stream := self.streams.get(group)) is None:
            for burst in bursts(messages):
                await self._fan_out.deliver(members, burst, ())
        else:
            if stream.waiting is not None:
                # They wait, too, but those without a position.
                messages = stream.accept(messages)
            if messages:
                # The position moves under the lock: who has it knows what live members have.
                async with stream.lock:
                    await self._deliver(stream, stream.accept(messages))
            self._fill_soon(stream)

    async def _deliver(self, stream: GroupStream, messages: Sequence[Message]) -> None:
        """Deliver ``messages`` to all live members; ``stream.lock`` is held by the caller."""
        if not self._is_followed(stream):
            return  # All have left. Those that joined since then have another stream.
        stream.entered.clear()
        if (entry := self._registry.groups.get(stream.group)) is not None:
            for burst in bursts(messages):
                await self._fan_out.deliver(entry.members, burst, stream.entered)
        for connection_id, (member, position) in [*stream.ahead.items()]:
            if position <= stream.last and stream.ahead.pop(connection_id):
                for message in messages:
                    if (message.cursor or "") > position and message.exclude != connection_id:
                        self._fan_out.hand_to(member, message, conf.MAX_QUEUE_BYTES)
                self._registry.enter(member, stream.group)

    async def deliver_control(self, control: Control) -> None:
        if isinstance(control.message, PresenceChanged):
            if self.presence is not None:
                self.presence.note_change(control.message.room)
        else:
            await self.control.receive(control)

    def note_doubt(self, is_loss_likely: bool) -> None:
        self._reader.forget()
        self.checks.doubt()
        if self.presence is not None:
            self.presence.note_doubt()
        if is_loss_likely and not self.control.cursor:
            self.control.recheck_all()

    def start(self, stream: GroupStream, top: str) -> None:
        """Members of ``stream`` begin after ``top``, unless they have begun already."""
        if not stream.last:
            stream.last = top
            if not stream.end_reading():
                self._fill_soon(stream)

    def try_enter(self, member: Member, stream: GroupStream, position: str) -> bool:
        """Make ``member``, which has everything up to ``position``, live; False if it lags.

        Raises ``LookupError`` if it has left.
        """
        if position < stream.last:
            return False
        if position == stream.last:
            # Not a second time if a delivery is going on.
            self._registry.enter(member, stream.group)
            stream.entered.add(member.connection_id)
        else:
            # It is let in when the others have got so far.
            stream.ahead[member.connection_id] = member, position
            loop = asyncio.get_running_loop()
            loop.call_later(LATE_MESSAGE_SECONDS, self.expect, stream, position)
        return True

    def expect(self, stream: GroupStream, position: str) -> None:
        """Have the members of ``stream`` get as far as ``position``."""
        if stream.last < position:
            self._read_on(stream)

    def _read_on(self, stream: GroupStream) -> None:
        """Read what ``stream`` has after ``last``, unless that is done already."""
        if stream.waiting is None and self._is_followed(stream):
            stream.begin_reading()
            self._fill_soon(stream)

    def _is_followed(self, stream: GroupStream) -> bool:
        return self.streams.get(stream.group) is stream

    def _fill_soon(self, stream: GroupStream) -> None:
        if stream.waiting is not None and stream.last and stream not in self._fills:
            self._fills[stream] = asyncio.get_running_loop().create_task(self._run_fill(stream))

    async def _run_fill(self, stream: GroupStream) -> None:
        try:
            await self._fill(stream)
        finally:
            # At once: in a callback it would be after messages that need the next one.
            self._fills.pop(stream, None)

    async def _fill(self, stream: GroupStream) -> None:
        """Deliver missing messages, and those that wait for them, in order."""
        if not stream.is_behind:
            await asyncio.sleep(OVERTAKEN_SECONDS)
        while self._is_followed(stream):
            try:
                async with stream.lock:
                    while accepted := stream.accept_waiting():
                        await self._deliver(stream, accepted)
                if stream.end_reading():
                    return
                # Rights first: what is read now must not overtake a message about them.
                await self.control.catch_up()
                was_behind, stream.is_behind = stream.is_behind, False
                count = len(stream.waiting or ())
                page = await self._reader.read(stream, stream.last)
                if stream.may_still_arrive(page):
                    stream.is_behind |= was_behind
                    await asyncio.sleep(LATE_MESSAGE_SECONDS)
                    continue
                async with stream.lock:
                    await self._deliver(stream, stream.accept_page(page, count))
            except Exception as error:
                if not isinstance(error, BackendError):
                    logger.exception("Missing messages could not be delivered.")
                stream.is_behind = True
                await asyncio.sleep(self._retry_seconds)

    async def check(self, groups: Sequence[str]) -> None:
        """Compare the positions of ``groups`` with their streams. Raises ``BackendError``."""
        found = [stream for group in groups if (stream := self.streams.get(group)) and stream.last]
        idle = [stream for stream in found if stream.waiting is None]
        for stream in found:
            # If it is read just now, that may have begun too early.
            stream.is_behind |= stream.waiting is not None
            self._fill_soon(stream)  # A member may have cancelled the task that read it.
        before = [stream.last for stream in idle]
        tops = await get_streams().get_tops([stream.group for stream in idle])
        for stream, last, top in zip(idle, before, tops, strict=True):
            if stream.waiting is not None or not self._is_followed(stream):
                continue
            if top > stream.last:
                self._read_on(stream)
            elif top < last:
                async with stream.lock:
                    await self._deliver(stream, stream.follow_back(top))
            else:
                stream.has_dropped = False

    def stop(self) -> None:
        """Let nothing run on."""
        for task in self._fills.values():
            task.cancel()
        self._fills.clear()
        self.streams.clear()
