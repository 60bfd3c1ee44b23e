"""The connections of one event loop, and the one channel over which all pushes reach them.

The first member of a group adds the hub's channel to it in the layer, the last one discards it.
A message arrives once for a process.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from pm_realtime.concurrency import PerLoop
from pm_realtime.hub.control_log import ControlLog
from pm_realtime.hub.fan_out import MEMBERS_PER_TURN, FanOut
from pm_realtime.hub.members import ControlSubscriber, Member
from pm_realtime.hub.missed import MissedMessages
from pm_realtime.hub.registry import Registry
from pm_realtime.hub.resume import ResumeBuffers
from pm_realtime.hub.sweep import sweep_forever
from pm_realtime.layer import (
    PROBE_TIMINGS,
    ControlMessage,
    Group,
    ProbeTimings,
    ProcessChannel,
    control_group,
)


class Hub:
    """Made by :func:`get_hub`. All methods belong to the event loop it was made in."""

    def __init__(
        self,
        *,
        members_per_turn: int = MEMBERS_PER_TURN,
        probe_timings: ProbeTimings = PROBE_TIMINGS,
        make_missed: Callable[[Registry], MissedMessages] = ResumeBuffers,
    ) -> None:
        self._registry = Registry()
        self.missed = make_missed(self._registry)
        self.control_log = _control_logs.get()
        self._fan_out = FanOut(self._registry, self.missed, self.control_log, members_per_turn)
        self.channel = ProcessChannel(self._registry.groups, self._fan_out, probe_timings)
        self._sweeping: asyncio.Task[None] | None = None
        self._control_subscriber = ControlSubscriber()
        self._starting = asyncio.Lock()

    def __len__(self) -> int:
        """The number of open connections."""
        others = len(self.missed.kept()) + (self._control_subscriber in self._registry)
        return len(self._registry) - others

    async def add(self, member: Member) -> None:
        """Add a connection. Raises ``BackendError`` while the layer is away."""
        self._registry.add(member)
        await self._start()

    async def join_all(self, member: Member, groups: Sequence[str]) -> None:
        """Add ``member`` to ``groups`` and deliver what it has missed there."""
        for count, group in enumerate(groups, 1):
            # On one server the last group confirms those that were joined before it.
            is_confirmed = count == len(groups) or not self.channel.is_on_one_server
            await self.join(member, group, is_confirmed=is_confirmed)
            self.deliver_missed(member, group)

    async def join(self, member: Member, group: str, *, is_confirmed: bool = True) -> None:
        """Add ``member`` to ``group``: it gets the messages that are sent after this returns.

        Nothing else runs between the joining and the return to the caller, so a reply that is sent
        at once precedes the first message of the group. Raises ``BackendError`` while messages of
        the layer do not arrive, and ``LookupError`` if ``member`` is gone.
        """
        with self._registry.groups.using(group) as entry:
            await self.channel.wait_healthy()
            if entry.lock.locked() or not entry.members:
                await self._join_first(member, group, entry, is_confirmed)
            else:
                self._registry.enter(member, group)

    async def leave(self, member: Member, group: str) -> None:
        """Take ``member`` out of ``group``: it gets no further message of the group."""
        if not self._registry.leave(member, group):
            return
        self._fan_out.forget_held(member.connection_id, group)
        self.missed.forget_group(member.connection_id, group)
        if not self._registry.groups[group].members:
            await self.channel.discard(group)

    async def remove(self, member: Member, *, is_dropped: bool = False) -> None:
        """Take a connection out of all groups; with the last connection the hub stops.

        If it ``is_dropped``, neither side wished so, and what it misses from now on is kept.
        """
        if member not in self._registry or (is_dropped and self.missed.keep(member)):
            return
        connection_id = member.connection_id
        self.missed.forget(connection_id)
        for group in self._registry.groups_of(connection_id):
            await self.leave(member, group)
        self._registry.remove(connection_id)
        self._fan_out.forget_held(connection_id)
        if len(self._registry) <= (self._control_subscriber in self._registry):
            _hubs.drop(self)
            await self._close()

    def hold(self, member: Member) -> None:
        """Keep the messages for ``member`` back until :meth:`release_held`."""
        self._fan_out.hold(member)

    def release_held(self, member: Member) -> None:
        """Deliver what was held for ``member``, except from groups that it has left meanwhile."""
        self._fan_out.release_held(member)

    def find(self, connection_id: str) -> Member | None:
        """A connection that is open here, or has dropped and can be resumed; None if none is."""
        return self._registry.find(connection_id)

    def deliver_missed(self, member: Member, group: str) -> None:
        """Deliver what ``member`` has missed in ``group``, which it has joined in this instant."""
        self._fan_out.deliver_missed(member, group)

    async def forget_missed(self) -> None:
        """Forget the connections that have dropped, as the process stops."""
        for member in self.missed.kept():
            await self.remove(member)

    async def _join_first(
        self, member: Member, group: str, entry: Group[Member], is_confirmed: bool
    ) -> None:
        try:
            async with entry.lock:
                if not entry.members:
                    await self.channel.add(group, is_confirmed=is_confirmed)
                else:
                    await self.channel.wait_healthy()
                self._registry.enter(member, group)
        except LookupError:
            await self.channel.discard(group)
            raise

    async def _start(self) -> None:
        async with self._starting:
            if self.channel.is_open:
                return
            await self.channel.open()
            self._sweeping = asyncio.get_running_loop().create_task(
                sweep_forever(self._registry, self.channel, self.missed, self.remove)
            )
            try:
                self._registry.add(self._control_subscriber)
                await self.join(self._control_subscriber, control_group())
            except BaseException:
                await self._close()
                raise

    async def _close(self) -> None:
        await self.leave(self._control_subscriber, control_group())
        self._registry.remove(self._control_subscriber.connection_id)
        sweeping, self._sweeping = self._sweeping, None
        await self.channel.close(sweeping)


_hubs: Final = PerLoop(Hub)
#: A log outlives its hub, which stops with its last connection: the client may soon come back.
_control_logs: Final = PerLoop(ControlLog)


def get_hub() -> Hub:
    """The hub of the running event loop."""
    return _hubs.get()


def use_hub(hub: Hub) -> None:
    """Make ``hub`` the hub of the running event loop."""
    _hubs.set(hub)


def receive_control(connection_id: str, message: ControlMessage) -> None:
    """Hand ``message`` to a connection of the running event loop; nothing if it is not there."""
    hub = _hubs.find()
    if hub is not None and (member := hub.find(connection_id)) is not None:
        member.receive_control(message)


def keeps_missed() -> bool:
    """Whether a connection of the running event loop has dropped that can be resumed."""
    hub = _hubs.find()
    return hub is not None and bool(hub.missed.kept())
