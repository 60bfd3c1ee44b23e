"""The connections of one event loop, and the one channel over which all pushes reach them.

The first member of a group adds the hub's channel to it in the layer, the last one discards it.
A message arrives once for a process.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from pm_realtime.backends import BYTES_PER_PAGE, get_streams
from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import conf
from pm_realtime.hub.fan_out import MEMBERS_PER_TURN, FanOut
from pm_realtime.hub.follower import Follower
from pm_realtime.hub.recovery import Recovery
from pm_realtime.layer import ControlMessage, ProbeTimings, ProcessChannel, control_group
from pm_realtime.streams import (
    CheckTimings,
    GroupStream,
    Joining,
    Label,
    Member,
    PageReader,
    Registry,
    Start,
)

logger = logging.getLogger("pm_realtime.push")

#: Before a task that was cancelled starts again.
RESTART_SECONDS: Final = 0.1


class Hub:
    """Made by :func:`get_hub`. All methods belong to the event loop it was made in."""

    def __init__(
        self,
        *,
        members_per_turn: int = MEMBERS_PER_TURN,
        probe_timings: ProbeTimings | None = None,
        check_timings: CheckTimings | None = None,
    ) -> None:
        self.registry = Registry()
        self.fan_out = FanOut(self.registry, members_per_turn)
        self._reader = reader = PageReader()
        timings = check_timings or CheckTimings()
        self.follower = Follower(self.registry, self.fan_out, reader, timings)
        self.control = self.follower.control
        self._recovery = Recovery(self.registry, self.follower, self.fan_out, reader)
        self.channel = ProcessChannel(
            self.registry.groups, self.follower, probe_timings or ProbeTimings()
        )
        #: Empty while the hub is closed.
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()

    def __len__(self) -> int:
        """The number of open connections."""
        return len(self.registry)

    async def add(self, member: Member) -> None:
        """Add a connection. Raises ``BackendError`` while the layer is away."""
        self.registry.add(member)
        async with self._starting:
            if not self._tasks:
                await self._start()

    async def join_all(
        self,
        member: Member,
        joinings: Sequence[Joining],
        *,
        excluded: Collection[str] = frozenset(),
    ) -> dict[str, Start]:
        """Add ``member`` to groups, as :meth:`join` does. Returns its start in each, by group."""
        starts: dict[str, Start] = {}
        await self._join_all(member, joinings, excluded, starts.__setitem__)
        return starts

    async def join(
        self,
        member: Member,
        group: str,
        *,
        ttl_seconds: float | None = None,
        since: str | None = None,
        last: int | None = None,
        room: str | None = None,
        to: str | None = None,
        excluded: Collection[str] = frozenset(),
        on_start: Callable[[Start], None] | None = None,
    ) -> None:
        """Add ``member`` to ``group``: it gets the messages that are sent after this returns.

        The arguments are as in :class:`Joining`. Messages that were not for one of the connections
        ``excluded`` are left out of what is missed. ``on_start`` is called once, before the first
        message of the group. When this returns, the member may still be catching up; that ends
        when it leaves. Raises ``BackendError`` while messages of the layer do not arrive or the
        stream cannot be read, and ``LookupError`` if ``member`` is gone.
        """

        def note(group: str, start: Start) -> None:
            if on_start is not None:
                on_start(start)

        joining = Joining(group, ttl_seconds, since, last, room, to)
        await self._join_all(member, [joining], excluded, note)

    async def _join_all(
        self,
        member: Member,
        joinings: Sequence[Joining],
        former_ids: Collection[str],
        note: Callable[[str, Start], None],
    ) -> None:
        new = [each for each in joinings if not self._recovery.is_in(member, each.group)]
        try:
            for each in new:
                await self._subscribe(member, each.group, is_last=each is new[-1])
            for each in new:
                self.registry.groups[each.group].is_added = True
            streams = [self._stream_of(each) for each in joinings]
            firsts = await self._reader.read_all(joinings, streams, self.follower.start)
            for joining, stream in zip(joinings, streams, strict=True):
                if stream is not None and joining not in new:
                    async with stream.lock:  # Some members have not got the last message before.
                        pass
            max_bytes = min(BYTES_PER_PAGE, conf.MAX_QUEUE_BYTES // 2) if member.has_room() else 0
            for joining, first in zip(joinings, firsts, strict=True):
                start = partial(note, joining.group)
                max_bytes -= self._recovery.begin(
                    *(member, joining, first, former_ids), on_start=start, max_bytes=max_bytes
                )
        except BaseException:
            for each in new:
                self._drop(member, each.group)
            raise

    async def _subscribe(self, member: Member, group: str, *, is_last: bool) -> None:
        """Receive messages for ``group``, where ``member`` is not live yet. If it is not the last
        of several groups, they certainly arrive once the last one has been subscribed to."""
        with self.registry.groups.using(group) as entry:
            self.registry.begin(member, group)
            await self.channel.wait_healthy()
            if entry.is_added and not entry.lock.locked():
                return
            async with entry.lock:
                if entry.is_added:
                    await self.channel.wait_healthy()
                else:
                    await self.channel.add(group, is_last=is_last)

    def _stream_of(self, joining: Joining) -> GroupStream | None:
        """The stream of a group that has just been subscribed to; None if it has none."""
        group, streams = joining.group, self.follower.streams
        if joining.ttl_seconds is None or not get_streams().keeps_messages:
            return None
        if group not in streams:
            label = Label(joining.room, joining.to)
            streams[group] = GroupStream(group, joining.ttl_seconds, label)
        return streams[group]

    async def leave(self, member: Member, group: str) -> None:
        """Take ``member`` out of ``group``: it gets no further message of the group."""
        if self._leave(member, group):
            await self.channel.discard(group)

    def _leave(self, member: Member, group: str) -> bool:
        """As :meth:`leave`; True if the layer is still to be told, as it was the last member."""
        self._recovery.stop(member, group)
        if not self.registry.leave(member, group):
            return False
        self.fan_out.forget_held(member.connection_id, group)
        if self.registry.groups[group].has_members:
            return False
        self.follower.streams.pop(group, None)
        return True

    def _drop(self, member: Member, group: str) -> None:
        """Take ``member`` out of ``group``, which it could not join."""
        self._leave(member, group)
        entry = self.registry.groups.get(group)
        if entry is None or not entry.has_members:
            self.channel.note_stale(group)

    async def remove(self, member: Member) -> None:
        """Take a connection out of all groups; with the last connection the hub stops."""
        if member not in self.registry:
            return
        connection_id = member.connection_id
        for group in self.registry.groups_of(connection_id):
            await self.leave(member, group)
        self.registry.remove(connection_id)
        self.fan_out.forget_held(connection_id)
        if len(self) == 0:
            _hubs.drop(self)
            await self._close()

    async def _start(self) -> None:
        await self.channel.open()
        self._tasks = {self._run(self._sweep_forever), self._run(self.follower.checks.run)}
        try:
            await self._follow_control()
        except BaseException:
            await self._close()
            raise

    def _run(self, run: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Run ``run()`` until the hub closes, also if a member cancels its caller."""
        loop = asyncio.get_running_loop()

        def start_again() -> None:
            if task in self._tasks:
                logger.error("A task of the hub was cancelled; it starts again.")
                self._tasks.discard(task)
                self._tasks.add(self._run(run))

        task = loop.create_task(run())
        # Not at once: if it is the loop that ends, and cancels all tasks, none may begin.
        task.add_done_callback(lambda _: loop.call_later(RESTART_SECONDS, start_again))
        return task

    async def _follow_control(self) -> None:
        with self.registry.groups.using(control_group()) as entry:
            entry.is_kept = True
            async with entry.lock:
                await self.channel.add(control_group(), is_last=True)
        await self.control.start()

    async def _close(self) -> None:
        # If the layer was away at the start, the hub is not in this group.
        if (entry := self.registry.groups.get(control_group())) is not None:
            entry.is_kept = False
            await self.channel.discard(control_group())
        self.follower.stop()
        tasks, self._tasks = self._tasks, set()
        await self.channel.close(*tasks)

    async def _sweep_forever(self) -> None:
        """Check heartbeats and renew groups in the layer, until cancelled."""
        interval_seconds = 1.0
        while True:
            try:
                self.channel.restart_receiver()
                now = time.monotonic()
                silence_seconds = conf.HEARTBEAT_INTERVAL + conf.HEARTBEAT_TIMEOUT
                # Short enough for the short heartbeats of tests.
                interval_seconds = max(0.02, min(1.0, silence_seconds / 8))
                for member in self.registry:
                    try:
                        member.check_heartbeat(now - silence_seconds)
                    except Exception:
                        logger.exception("The heartbeat of a connection could not be checked.")
                await self.channel.renew()
            except Exception:
                logger.exception("Heartbeats could not be checked or groups not be renewed.")
            await asyncio.sleep(interval_seconds)


_hubs: Final = PerLoop(Hub)

#: The hub of the running event loop, and the call that makes another one its hub.
get_hub: Final = _hubs.get
use_hub: Final = _hubs.set


def control_position() -> str:
    """The position of the last control message in the running event loop; empty if none came."""
    hub = _hubs.find()
    return "" if hub is None else hub.control.position


def receive_control(connection_id: str, message: ControlMessage) -> None:
    """Hand ``message`` to a connection of the running event loop; nothing if it is not there."""
    hub = _hubs.find()
    if hub is not None and (member := hub.registry.find(connection_id)) is not None:
        member.receive_control(message)
