"""Recovery: members that join a group get what they missed, and then what is new.

Until then they are not live, and nothing is kept for them: they read pages of the stream, and no
page before they have got rid of the one before it.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError
from pm_realtime.hub.fan_out import FanOut
from pm_realtime.hub.follower import Follower
from pm_realtime.streams import (
    Burst,
    First,
    GroupStream,
    Joining,
    Member,
    PageReader,
    Registry,
    Start,
)

logger = logging.getLogger("pm_realtime.push")

RETRY_SECONDS: Final = 1.0
#: Pages that members get in one turn of the event loop, for which everybody else waits.
PAGES_PER_TURN: Final = 8


@dataclass(slots=True, eq=False)
class CatchingUp:
    """A member on its way to the top of a stream; it has everything up to ``position``."""

    member: Member
    stream: GroupStream
    position: str
    #: The ids of its client's former connections.
    former_ids: Collection[str]
    #: Held while it gets a page: the streams of one member take turns.
    turn: asyncio.Lock
    task: asyncio.Task[None] | None = None
    #: Whether something before its next page is lost, which it has not been told yet.
    owes_gap: bool = False


class Recovery:
    """Belongs to one hub."""

    def __init__(
        self, registry: Registry, follower: Follower, fan_out: FanOut, reader: PageReader
    ) -> None:
        self._registry = registry
        self._follower = follower
        self._fan_out = fan_out
        self._reader = reader
        #: By connection id and group.
        self._under_way: dict[tuple[str, str], CatchingUp] = {}
        #: By connection id.
        self._turn_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._pages = asyncio.Semaphore(PAGES_PER_TURN)

    def begin(
        self,
        member: Member,
        joining: Joining,
        first: First,
        former_ids: Collection[str],
        *,
        on_start: Callable[[Start], None],
        max_bytes: int,
    ) -> int:
        """Let ``member`` begin with ``first``. Raises ``LookupError`` if it has left.

        A first page of at most ``max_bytes`` is delivered at once; returns its bytes.
        """
        group, (stream, replay, is_whole) = joining.group, first
        if stream is None or replay is None:
            if not self.is_in(member, group):
                if stream is None:
                    self._registry.enter(member, group)
                else:
                    self._follower.try_enter(member, stream, stream.last)
            on_start(Start(None if stream is None else self._position_of(member, stream)))
            return 0
        start = replay.start
        if is_whole is not False and self.is_in(member, group):
            # Without a gap, never past what it has not got yet.
            start = min(start, self._position_of(member, stream))
        before = self._under_way.get((member.connection_id, group))
        owes_gap = is_whole is False or (before is not None and before.owes_gap)
        self.stop(member, group)
        self._registry.begin(member, group)
        on_start(Start(start, is_whole))
        turn = self._turn_locks.setdefault(member.connection_id, asyncio.Lock())
        each = CatchingUp(member, stream, start, former_ids, turn, owes_gap=owes_gap)
        is_handed = start == replay.start and replay.size <= max_bytes and not turn.locked()
        if is_handed:
            self._hand_owed_gap(each, start)
            for part in replay.parts:
                self._hand(each, part)
            each.position = replay.end
        if each.owes_gap or not self._follower.try_enter(member, stream, each.position):
            self._under_way[member.connection_id, group] = each
            each.task = asyncio.get_running_loop().create_task(self._go_on(each))
            each.task.add_done_callback(lambda _: self._forget(each))
        elif start < replay.start:
            self._follower.expect(stream, replay.start)
        return replay.size if is_handed else 0

    def is_in(self, member: Member, group: str) -> bool:
        """Whether ``member`` is in ``group``, live or catching up."""
        stream = self._follower.streams.get(group)
        return (
            self._registry.is_live(member, group)
            or (member.connection_id, group) in self._under_way
            or (stream is not None and member.connection_id in stream.ahead)
        )

    def _position_of(self, member: Member, stream: GroupStream) -> str:
        """The position up to which ``member`` has everything."""
        if each := self._under_way.get((member.connection_id, stream.group)):
            return each.position
        return stream.ahead.get(member.connection_id, (member, stream.last))[1]

    def stop(self, member: Member, group: str) -> None:
        """``member`` has left ``group``, or begins anew."""
        if (stream := self._follower.streams.get(group)) is not None:
            stream.ahead.pop(member.connection_id, None)
        if (each := self._under_way.pop((member.connection_id, group), None)) and each.task:
            each.task.cancel()

    def _forget(self, each: CatchingUp) -> None:
        key = each.member.connection_id, each.stream.group
        if self._under_way.get(key) is each:
            del self._under_way[key]

    def _hand(self, each: CatchingUp, part: Burst) -> None:
        self._fan_out.hand_burst_to(each.member, part, conf.MAX_QUEUE_BYTES, each.former_ids)
        each.position = part.messages[-1].cursor or each.position

    def _hand_owed_gap(self, each: CatchingUp, cursor: str) -> None:
        """Not earlier than its page: a loss while that waits belongs to the same gap."""
        if each.owes_gap:
            each.owes_gap = False
            gap = each.stream.label.gap(each.stream.group, cursor)
            self._fan_out.hand_to(each.member, gap, conf.MAX_QUEUE_BYTES)

    async def _go_on(self, each: CatchingUp) -> None:
        """Catch up, whatever fails: until then the member gets nothing new."""
        while not self._try_enter(each):
            try:
                async with each.turn:
                    await each.member.until_drained()
                    await self._read_on(each)
            except Exception as error:
                if not isinstance(error, BackendError):
                    logger.exception("A connection could not catch up; it is tried again.")
                await asyncio.sleep(RETRY_SECONDS)

    def _try_enter(self, each: CatchingUp) -> bool:
        """Whether ``each`` has ended."""
        if each.owes_gap:
            return False
        try:
            return self._follower.try_enter(each.member, each.stream, each.position)
        except LookupError:
            logger.debug("%s has left while it caught up.", each.member.connection_id)
            return True

    async def _read_on(self, each: CatchingUp) -> None:
        member, stream = each.member, each.stream
        async with self._pages:
            replay = await self._reader.replay(stream, each.position)
            await asyncio.sleep(0)
        if not replay.parts and replay.end < stream.last:
            # The store lost its last messages, unless some have come in this moment.
            self._reader.forget()
            await self._follower.check([stream.group])
        each.owes_gap |= not replay.is_whole
        self._hand_owed_gap(each, replay.start)
        for count, part in enumerate(replay.parts):
            if count:
                await member.until_drained()
            self._hand(each, part)
        each.position = replay.end
