"""The pictures of the rooms in which connections of an event loop see who is present."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pm_realtime.backends import get_presence_store
from pm_realtime.concurrency import note_result
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError
from pm_realtime.hub import Member, get_hub
from pm_realtime.layer import room_group
from pm_realtime.observability import log_failure
from pm_realtime.protocol import MessageType, encode, make_envelope
from pm_realtime.rooms.picture import Emission, Pace, Picture
from pm_realtime.streams import Burst, CheckTimings, Message, PositionChecks
from pm_realtime.texts import size_of

logger = logging.getLogger("pm_realtime.room")

#: In this time each picture is compared with the store once.
CHECK_PERIOD_SECONDS: Final = 5.0
#: For how long a picture is kept for a connection that joins.
KEEP_SECONDS: Final = 30.0


@dataclass(slots=True, eq=False)
class _Followed:
    """A room, and its viewers by connection id: those that see members, and the others."""

    picture: Picture
    pace: Pace
    seeing: dict[str, Member] = field(default_factory=dict)
    counting: dict[str, Member] = field(default_factory=dict)
    #: Held from a question to the store until its answer is adopted.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: The task that reads and tells.
    reading: asyncio.Task[None] | None = None
    #: The task that reads for those who join; None once its question is asked.
    refreshing: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    #: Until when it is kept without viewers, by the clock of the event loop.
    kept_until: float = 0.0

    @property
    def has_viewers(self) -> bool:
        return bool(self.seeing or self.counting)

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None


class Pictures:
    """Belongs to one event loop. A ``PresenceObserver`` of its hub."""

    def __init__(
        self, check_timings: CheckTimings | None = None, *, keep_seconds: float = KEEP_SECONDS
    ) -> None:
        self._keep_seconds = keep_seconds
        self._rooms: dict[str, _Followed] = {}
        timings = check_timings or CheckTimings(period_seconds=CHECK_PERIOD_SECONDS)
        self._checks = PositionChecks(
            lambda: [*self._rooms], self._check, self._forget_unwatched, timings
        )
        self._checking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Compare pictures with the store from now on."""
        if self._checking is None:
            self._checking = asyncio.get_running_loop().create_task(self._checks.run())

    def stop(self) -> None:
        """The last connection has gone."""
        if self._checking is not None:
            self._checking.cancel()
            self._checking = None
        for followed in self._rooms.values():
            followed.stop()
            if followed.reading is not None:
                followed.reading.cancel()
        self._rooms.clear()

    def note_change(self, room: str) -> None:
        followed = self._rooms.get(room)
        if followed is not None and followed.has_viewers:
            followed.pace.note_change(asyncio.get_running_loop().time())
            self._arrange(followed)

    def note_doubt(self) -> None:
        self._checks.doubt()

    async def prepare(self, room: str, max_members: int) -> None:
        """Have a fresh picture of ``room``. Raises ``BackendError``."""
        followed, loop = self._follow(room, max_members), asyncio.get_running_loop()
        followed.kept_until = loop.time() + self._keep_seconds
        if followed.refreshing is None:
            followed.refreshing = loop.create_task(self._refresh(followed))
            followed.refreshing.add_done_callback(note_result)
        await asyncio.shield(followed.refreshing)

    async def _refresh(self, followed: _Followed) -> None:
        try:
            await self._read(followed)
        finally:
            if followed.refreshing is asyncio.current_task():
                followed.refreshing = None
        if followed.has_viewers and followed.picture.has_news:
            followed.pace.note_change(asyncio.get_running_loop().time())
            self._arrange(followed)

    def attach(self, member: Member, room: str, max_members: int, *, may_see: bool) -> Picture:
        """Make ``member`` a viewer of ``room``. Returns the picture from which it goes on."""
        followed = self._follow(room, max_members)
        if not followed.has_viewers:
            followed.pace.note_begin(asyncio.get_running_loop().time())
            self._arrange(followed)
        self._remove(followed, member)
        viewers = followed.seeing if may_see else followed.counting
        viewers[member.connection_id] = member
        return followed.picture

    def may_see(self, member: Member, room: str) -> bool | None:
        """Whether ``member`` sees the members of ``room``; None if it is no viewer."""
        if (followed := self._rooms.get(room)) is None:
            return None
        if followed.seeing.get(member.connection_id) is member:
            return True
        return False if followed.counting.get(member.connection_id) is member else None

    def detach(self, member: Member, room: str) -> None:
        """``member`` is no viewer of ``room`` any more."""
        if (followed := self._rooms.get(room)) is not None:
            self._remove(followed, member)
            self._forget_if_unwatched(followed)

    def tell(self, member: Member, room: str, payload: dict[str, Any]) -> None:
        """Deliver ``payload`` to one viewer."""
        message = _message(room, payload)
        get_hub().fan_out.hand_to(member, message, conf.MAX_QUEUE_BYTES)

    def _follow(self, room: str, max_members: int) -> _Followed:
        followed = self._rooms.get(room)
        if followed is None:
            followed = self._rooms[room] = _Followed(Picture(room, max_members), Pace())
        return followed

    @staticmethod
    def _remove(followed: _Followed, member: Member) -> None:
        for viewers in (followed.seeing, followed.counting):
            if viewers.get(member.connection_id) is member:
                del viewers[member.connection_id]
                # It may have lost the right to see what is held for it.
                label = _label(followed.picture.room)
                get_hub().fan_out.forget_held(member.connection_id, label)

    def _is_followed(self, followed: _Followed) -> bool:
        return self._rooms.get(followed.picture.room) is followed

    def _arrange(self, followed: _Followed) -> None:
        """Have the picture read when its pace says so."""
        followed.stop()
        at = followed.pace.next_at
        if at is not None and followed.reading is None and self._is_followed(followed):
            loop = asyncio.get_running_loop()
            followed.timer = loop.call_at(at, self._begin_reading, followed)

    def _begin_reading(self, followed: _Followed) -> None:
        loop = asyncio.get_running_loop()
        followed.stop()
        followed.pace.begin_reading(loop.time())
        followed.reading = loop.create_task(self._run_reading(followed))
        followed.reading.add_done_callback(note_result)

    async def _run_reading(self, followed: _Followed) -> None:
        try:
            await self._read(followed)
            if self._is_followed(followed):
                await self._tell_all(followed, followed.picture.emit())
        except Exception as error:
            # Changes are found when all pictures are compared.
            self._checks.doubt()
            if not isinstance(error, BackendError):
                log_failure(logger, "The members of a room could not be told.", error)
        finally:
            followed.reading = None
            self._arrange(followed)

    async def _read(self, followed: _Followed) -> None:
        """Read what has changed, one question after the other: each is asked since the last."""
        picture = followed.picture
        async with followed.lock:
            if followed.refreshing is asyncio.current_task():
                followed.refreshing = None  # The answer may be without later joins.
            reading = await get_presence_store().read(
                picture.room, picture.since, picture.max_members
            )
            (picture.adopt if followed.has_viewers else picture.begin)(reading)

    async def _tell_all(self, followed: _Followed, emission: Emission) -> None:
        fan_out = get_hub().fan_out
        audiences = ((followed.seeing, emission.seeing), (followed.counting, emission.counting))
        for viewers, payload in audiences:
            if viewers and payload is not None:
                message = _message(followed.picture.room, payload)
                await fan_out.deliver(viewers, Burst.of([message]), ())
                # Only now: so the last one to get it does not get the next one too early.
                followed.pace.note_emission(asyncio.get_running_loop().time())

    async def _check(self, rooms: Sequence[str]) -> None:
        """Compare the pictures of ``rooms`` with the store. Raises ``BackendError``."""
        found = {room: followed for room in rooms if (followed := self._rooms.get(room))}
        marks = {room: mark for room, each in found.items() if (mark := each.picture.mark)}
        known = await get_presence_store().check(marks)
        for room, followed in found.items():
            if not self._is_followed(followed) or followed.picture.mark is not marks.get(room):
                continue
            if room in known:
                followed.picture.mark = known[room]
            elif followed.has_viewers:
                self.note_change(room)

    async def _forget_unwatched(self) -> None:
        """Forget rooms that were asked for, but then not joined."""
        for followed in [*self._rooms.values()]:
            self._forget_if_unwatched(followed)

    def _forget_if_unwatched(self, followed: _Followed) -> None:
        # Another connection may be about to join, as after a reload.
        is_kept = asyncio.get_running_loop().time() < followed.kept_until
        if not (is_kept or followed.has_viewers or followed.reading):
            followed.stop()
            del self._rooms[followed.picture.room]


def _message(room: str, payload: dict[str, Any]) -> Message:
    text = encode(make_envelope(MessageType.PRESENCE, payload, room=room))
    return Message(_label(room), text, size_of(text))


def _label(room: str) -> str:
    """The group of messages about the members of ``room``, apart from its other messages."""
    return f"presence.{room_group(room)}"
