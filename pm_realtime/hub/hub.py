"""The connections of one event loop, and the one channel over which all pushes reach them.

The first member of a group adds the hub's channel to it in the layer, the last one discards it.
A message arrives once for a process.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from pm_realtime.backends import get_streams
from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import conf
from pm_realtime.hub.control_log import ControlLog
from pm_realtime.hub.fan_out import MEMBERS_PER_TURN, FanOut
from pm_realtime.hub.joining import Joining, Start
from pm_realtime.hub.members import ControlSubscriber, Member, Registry
from pm_realtime.hub.resume import ResumeBuffers
from pm_realtime.layer import ControlMessage, ProbeTimings, ProcessChannel, control_group

logger = logging.getLogger("pm_realtime.push")


class Hub:
    """Made by :func:`get_hub`. All methods belong to the event loop it was made in."""

    def __init__(
        self,
        *,
        members_per_turn: int = MEMBERS_PER_TURN,
        probe_timings: ProbeTimings | None = None,
    ) -> None:
        self.registry = Registry()
        self.missed = ResumeBuffers(self.registry)
        self.control_log = _control_logs.get()
        self.fan_out = FanOut(self.registry, self.missed, self.control_log, members_per_turn)
        timings = probe_timings or ProbeTimings()
        self.channel = ProcessChannel(self.registry.groups, self.fan_out, timings)
        self._sweeping: asyncio.Task[None] | None = None
        self._control_subscriber = ControlSubscriber()
        self._starting = asyncio.Lock()

    def __len__(self) -> int:
        """The number of open connections."""
        others = len(self.missed.kept()) + (self._control_subscriber in self.registry)
        return len(self.registry) - others

    async def add(self, member: Member) -> None:
        """Add a connection. Raises ``BackendError`` while the layer is away."""
        self.registry.add(member)
        async with self._starting:
            if self._sweeping is None:
                await self._start()

    async def join_all(
        self,
        member: Member,
        joinings: Sequence[Joining],
        *,
        excluded: Collection[str] = frozenset(),
    ) -> dict[str, Start]:
        """Add ``member`` to groups, as :meth:`join` does; where it begins, by group."""
        starts: dict[str, Start] = {}
        for count, joining in enumerate(joinings, 1):
            note = partial(starts.__setitem__, joining.group)
            await self._join(member, joining, excluded, note, is_last=count == len(joinings))
            self.fan_out.deliver_missed(member, joining.group)
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
        when it leaves. Raises ``BackendError`` while messages of the layer do not arrive, and
        ``LookupError`` if ``member`` is gone.
        """
        joining = Joining(group, ttl_seconds, since, last, room, to)
        await self._join(member, joining, excluded, on_start or (lambda start: None))

    async def _join(
        self,
        member: Member,
        joining: Joining,
        excluded: Collection[str],
        on_start: Callable[[Start], None],
        *,
        is_last: bool = True,
    ) -> None:
        await self._enter(member, joining.group, is_last=is_last)
        if joining.ttl_seconds is None:
            on_start(Start())
        else:
            await self._start_simply(member, joining, excluded, on_start)

    async def _start_simply(
        self,
        member: Member,
        joining: Joining,
        excluded: Collection[str],
        on_start: Callable[[Start], None],
    ) -> None:
        streams, since, ttl_seconds = get_streams(), joining.since, joining.ttl_seconds or 0
        if since is None and joining.last is None:
            (top,) = await streams.get_tops([joining.group])
            on_start(Start(top))
            return
        if since is None:
            since = await streams.find_start(joining.group, joining.last or 0, ttl_seconds)
        page = await streams.read(joining.group, since, ttl_seconds)
        on_start(Start(since, None if joining.since is None else page.is_whole))
        while page.publications:
            for publication in page.publications:
                if publication.exclude not in {member.connection_id, *excluded}:
                    cursor = publication.cursor
                    more = f',"cursor":"{cursor}","replayed":true}}'
                    member.deliver(publication.text[:-1] + more)
            page = await streams.read(joining.group, page.publications[-1].cursor, ttl_seconds)

    async def _enter(self, member: Member, group: str, *, is_last: bool = True) -> None:
        with self.registry.groups.using(group) as entry:
            await self.channel.wait_healthy()
            if entry.members and not entry.lock.locked():
                self.registry.enter(member, group)
                return
            try:
                async with entry.lock:
                    if entry.members:
                        await self.channel.wait_healthy()
                    else:
                        await self.channel.add(group, is_last=is_last)
                    self.registry.enter(member, group)
            except LookupError:
                await self.channel.discard(group)
                raise

    async def leave(self, member: Member, group: str) -> None:
        """Take ``member`` out of ``group``: it gets no further message of the group."""
        if not self.registry.leave(member, group):
            return
        self.fan_out.forget_held(member.connection_id, group)
        self.missed.forget_group(member.connection_id, group)
        if not self.registry.groups[group].members:
            await self.channel.discard(group)

    async def remove(self, member: Member, *, is_dropped: bool = False) -> None:
        """Take a connection out of all groups; with the last connection the hub stops.

        If it ``is_dropped``, neither side wished so, and what it misses from now on is kept.
        """
        if member not in self.registry or (is_dropped and self.missed.keep(member)):
            return
        connection_id = member.connection_id
        self.missed.forget(connection_id)
        for group in self.registry.groups_of(connection_id):
            await self.leave(member, group)
        self.registry.remove(connection_id)
        self.fan_out.forget_held(connection_id)
        if len(self.registry) <= (self._control_subscriber in self.registry):
            _hubs.drop(self)
            await self._close()

    async def forget_missed(self) -> None:
        """Forget the connections that have dropped, as the process stops."""
        for member in self.missed.kept():
            await self.remove(member)

    async def _start(self) -> None:
        await self.channel.open()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep_forever())
        try:
            self.registry.add(self._control_subscriber)
            await self.join(self._control_subscriber, control_group())
        except BaseException:
            await self._close()
            raise

    async def _close(self) -> None:
        await self.leave(self._control_subscriber, control_group())
        self.registry.remove(self._control_subscriber.connection_id)
        if (sweeping := self._sweeping) is not None:
            self._sweeping = None
            await self.channel.close(sweeping)

    async def _sweep_forever(self) -> None:
        """Check heartbeats, renew groups in the layer and drop old messages, until cancelled."""
        removing: asyncio.Task[None] | None = None
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
                self.missed.sweep(now)
                if (removing is None or removing.done()) and any(self.missed.expired()):
                    # In a task of its own: with the last member the hub stops, and this sweep too.
                    removing = asyncio.get_running_loop().create_task(self._remove_expired())
                await self.channel.renew()
            except Exception:
                logger.exception("Heartbeats could not be checked or groups not be renewed.")
            await asyncio.sleep(interval_seconds)

    async def _remove_expired(self) -> None:
        for member in self.missed.expired():
            await self.remove(member)


_hubs: Final = PerLoop(Hub)
#: A log outlives its hub, which stops with its last connection: the client may soon come back.
_control_logs: Final = PerLoop(ControlLog)

#: The hub of the running event loop, and the call that makes another one its hub.
get_hub: Final = _hubs.get
use_hub: Final = _hubs.set


def receive_control(connection_id: str, message: ControlMessage) -> None:
    """Hand ``message`` to a connection of the running event loop; nothing if it is not there."""
    hub = _hubs.find()
    if hub is not None and (member := hub.registry.find(connection_id)) is not None:
        member.receive_control(message)


def keeps_missed() -> bool:
    """Whether a connection of the running event loop has dropped that can be resumed."""
    hub = _hubs.find()
    return hub is not None and bool(hub.missed.kept())
