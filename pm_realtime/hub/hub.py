"""The connections of one event loop, and the one channel over which all pushes reach them.

The first member of a group adds the hub's channel to it in the layer, the last one takes it out.
A message arrives once for a process and its text goes to every member as it is.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import conf
from pm_realtime.hub.control_log import ControlLog
from pm_realtime.hub.members import ControlSubscriber, Member
from pm_realtime.hub.messages import NEVER_SENT, Burst, Message, bursts
from pm_realtime.hub.resume import MessageBuffer, ResumeBuffer, ResumeBuffers, ResumePosition
from pm_realtime.layer import (
    Close,
    Control,
    ControlMessage,
    Group,
    Groups,
    ProcessChannel,
    Recheck,
    authenticated_group,
    connection_group,
    control_group,
)
from pm_realtime.observability import throttle
from pm_realtime.protocol import CloseCode

logger = logging.getLogger("pm_realtime.push")

#: Members served before other tasks of the loop get a turn.
BATCH: Final = 250
#: Seconds after which they get one, however few were served.
TURN: Final = 0.002
#: Members served between two looks at the clock, or messages to them.
STEP: Final = 50


class Hub:
    """Made by :func:`get_hub`. All methods belong to the event loop it was made in."""

    def __init__(self) -> None:
        self._members: dict[str, tuple[Member, set[str]]] = {}
        self._groups: Groups[Member] = Groups()
        self._channel = ProcessChannel(
            self._groups, dispatch=self._dispatch, begin_turn=self._begin_turn, mend=self._mend
        )
        self._sweeper: asyncio.Task[None] | None = None
        self._control_subscriber = ControlSubscriber()
        self._control_log = _control_logs.get()
        #: What arrived for members whose rights are in doubt.
        self._held: dict[str, MessageBuffer] = {}
        self._places = ResumeBuffers()
        self._forgetting: asyncio.Task[None] | None = None
        #: Counts what came from the layer.
        self._serial = 0
        #: Members served in this turn of the loop, and when it began.
        self._served, self._turn_began = 0, 0.0
        self._starting = asyncio.Lock()

    def __len__(self) -> int:
        return sum(
            1
            for member, _ in self._members.values()
            if member is not self._control_subscriber and not isinstance(member, ResumeBuffer)
        )

    async def add(self, member: Member, groups: Sequence[str] = ()) -> None:
        """Take in a connection and add it to ``groups``; orders are heard from now on.

        Raises ``BackendError`` while the layer is away.
        """
        self._members[member.connection_id] = (member, set())
        await self._start()
        await self.join_all(member, groups)

    async def join_all(self, member: Member, groups: Sequence[str]) -> None:
        """Add ``member`` to ``groups``, as :meth:`join` does, the last being its own."""
        await self._start()
        for count, group in enumerate(groups, 1):
            # On one server the last group confirms those that were joined before it.
            is_confirmed = count == len(groups) or not self._channel.is_on_one_server
            await self.join(member, group, is_confirmed=is_confirmed)
            self.deliver_missed(member, group)

    async def remove(self, member: Member, *, is_dropped: bool = False) -> None:
        """Let a connection go, out of all its groups; the last one stops the hub.

        Where it ``is_dropped``, without anybody wishing so, its place stays if it has one.
        """
        known, groups = self._members.get(member.connection_id, (member, set()))
        if known is not member or (is_dropped and self._keep_place(member)):
            return
        self._places.discard(member.connection_id)
        for group in list(groups):
            await self.leave(member, group)
        self._members.pop(member.connection_id, None)
        self._held.pop(member.connection_id, None)
        if len(self._members) <= (self._control_subscriber.connection_id in self._members):
            await self._stop()

    def offer_place(self, member: Member) -> None:
        """From now on remember what ``member`` is sent, and keep its place when it drops."""
        self._places.offer(member.connection_id)

    def resume(self, member: Member, bookmark: ResumePosition) -> tuple[bool, str | None]:
        """Have ``member`` go on where its client has stopped reading.

        From each group that it joins it then gets what it missed: see :meth:`deliver_missed`.
        False where nobody remembers that, or it is not the place of the same user and session.
        With it the connection that has dropped or now gives way, if that is of the same ones.
        """
        found, owner_key = self._places.find(bookmark), member.owner_key
        if found is None or owner_key is None:
            return False, None
        place, seen = found
        former, _ = self._members[place.connection_id]
        if former is not place and former.owner_key == owner_key and self._keep_place(former):
            # Its end has not come to us yet.
            former.give_way()
        if place.owner_key != owner_key:
            return False, None
        until = time.monotonic() + conf.RESUME_PERIOD
        if not self._places.give(place, member.connection_id, owner_key, seen, until):
            return False, place.connection_id
        if place.connection_id != bookmark.connection_id:
            place.forget_numbers()
            # Its client may not have heard of this one either.
            self._places[bookmark.connection_id].until = until
        return True, place.connection_id

    def knows(self, connection_id: str) -> bool:
        """Whether a connection is open here, or its place is kept."""
        return connection_id in self._members

    @property
    def keeps_resume_buffers(self) -> bool:
        """Whether a connection that dropped has a place here still."""
        return any(isinstance(member, ResumeBuffer) for member, _ in self._members.values())

    async def forget_places(self) -> None:
        """Let the places of connections that dropped go, as the process stops."""
        for member, _ in list(self._members.values()):
            if isinstance(member, ResumeBuffer):
                await self.remove(member)

    def deliver_missed(self, member: Member, group: str) -> None:
        """Deliver what ``member`` missed in ``group``, which it has joined in this instant."""
        for message in self._places.hand_over(member.connection_id, group, self._serial):
            self._hand(member, message, conf.MAX_QUEUE_BYTES)

    def _keep_place(self, member: Member) -> bool:
        """Have its place be in the groups of ``member`` instead of it; False where it has none."""
        connection_id = member.connection_id
        place, owner_key = self._places.get(connection_id), member.owner_key
        if place is None or owner_key is None or connection_id in self._held:
            return False
        _, groups = self._members[connection_id]
        until = time.monotonic() + conf.RESUME_PERIOD
        place.keep(owner_key, groups - {connection_group(connection_id)}, until)
        self._members[connection_id] = (place, groups)
        for group in groups:
            self._groups[group].members[connection_id] = place
        return True

    async def join(self, member: Member, group: str, *, is_confirmed: bool = True) -> None:
        """Add ``member`` to ``group``; messages sent after this returns reach it.

        Nothing else runs between the joining and the return to the caller, so that a reply sent
        at once precedes the first message of the group. Raises ``BackendError`` while the layer
        does not bring what is sent.
        """
        with self._groups.using(group) as entry:
            await self._channel.until_healthy()
            if entry.lock.locked() or not entry.members:
                await self._join_first(member, group, entry, is_confirmed)
            else:
                self._enter(member, group, entry)

    async def leave(self, member: Member, group: str) -> None:
        """Take ``member`` out of ``group``; nothing sent to it arrives from now on."""
        entry = self._groups.get(group)
        if entry is None or entry.members.pop(member.connection_id, None) is None:
            return
        self._members[member.connection_id][1].discard(group)
        if held := self._held.get(member.connection_id):
            held.take({group})
        if place := self._places.get(member.connection_id):
            place.forget(group)
        if not entry.members:
            await self._channel.discard(group)

    def control_since(self, moment: float, groups: Collection[str]) -> list[ControlMessage]:
        """The control messages for ``groups`` since ``moment`` (monotonic seconds)."""
        return self._control_log.since(moment, groups)

    def has_received(self, message: ControlMessage, seconds: float) -> bool:
        """Whether the control ``message`` arrived within the last ``seconds``."""
        return self._control_log.has(message, seconds)

    async def catch_up(self) -> None:
        """Return when what was sent before now is delivered; raise ``BackendError`` in doubt.

        Who wants to join a group meanwhile waits as well.
        """
        await self._channel.catch_up()

    def hold(self, member: Member) -> None:
        """Keep back what arrives for ``member`` until :meth:`release_held`."""
        # Not what comes for its place, which nobody would let go.
        if self._members.get(member.connection_id, (None, ()))[0] is member:
            self._held.setdefault(member.connection_id, MessageBuffer())

    def release_held(self, member: Member) -> None:
        """Deliver what was held for ``member``, but not through groups it has left meanwhile."""
        held = self._held.pop(member.connection_id, None)
        for _, message in held.messages if held is not None else ():
            self._hand(member, message, conf.MAX_QUEUE_BYTES)

    async def _dispatch(self, group: str | None, messages: Sequence[dict[str, Any]]) -> None:
        """Hand on pushes to ``group`` that came together, or a single message that is none."""
        if group is None:
            self._deliver_control(messages[0])
            # A connection that this closes is gone before the next message.
            await asyncio.sleep(0)
            return
        entry = self._groups.get(group)
        if entry is None:
            # A join was cancelled, or a leave failed, while the layer worked on it.
            self._channel.note_stale(group)
            return
        for burst in bursts(group, messages, self._serial):
            self._serial = burst.messages[-1].serial
            await self._hand_out(entry, burst)

    async def _hand_out(self, entry: Group[Member], burst: Burst) -> None:
        """Hand a burst to the members of its group, in the order of joining."""
        limit = conf.MAX_QUEUE_BYTES
        alone = burst.messages[0] if len(burst.messages) == 1 else None
        connection_ids = list(entry.members)
        step = max(1, min(BATCH, STEP) // len(burst.messages))
        for start in range(0, len(connection_ids), step):
            chunk = connection_ids[start : start + step]
            await self._spend(len(chunk))
            for connection_id in chunk:
                # It may have left meanwhile, or its place be there instead of it.
                member = entry.members.get(connection_id)
                if member is None:
                    continue
                try:
                    if alone is None:
                        self._hand_all(member, burst, limit)
                    elif connection_id != alone.exclude:
                        self._hand(member, alone, limit)
                except Exception:
                    logger.exception("A message could not be delivered to a connection.")

    async def _spend(self, members: int) -> None:
        """Leave a turn to others, where this one has served enough or taken too long."""
        is_long = time.monotonic() - self._turn_began > TURN
        if self._served and (is_long or self._served + members > BATCH):
            await asyncio.sleep(0)
            self._begin_turn()
            self._channel.note_arrival()
        self._served += members

    def _begin_turn(self) -> None:
        self._served, self._turn_began = 0, time.monotonic()

    def _hand_all(self, member: Member, burst: Burst, limit: int) -> None:
        connection_id = member.connection_id
        is_open = connection_id not in self._held and not isinstance(member, ResumeBuffer)
        if not is_open or connection_id in burst.excluded:
            for message in burst.messages:
                if message.exclude != connection_id:
                    self._hand(member, message, limit)
            return
        last = member.deliver_all(burst.texts)
        if self._places and (place := self._places.get(connection_id)) is not None:
            number = last - len(burst.messages)
            for message in burst.messages:
                number += 1
                place.note(number, message, limit // 2)

    def _hand(self, member: Member, message: Message, limit: int) -> None:
        connection_id = member.connection_id
        if self._held and (held := self._held.get(connection_id)) is not None:
            self._add_to_held(member, held, message, limit)
            return
        number = member.deliver(message.text)
        if self._places and (place := self._places.get(connection_id)) is not None:
            if (taker := place.taker_of(message)) is not None:
                self._hand_to_taker(taker, message, limit)
            else:
                place.note(number, message, limit // 2)

    def _hand_to_taker(self, connection_id: str, message: Message, limit: int) -> None:
        member, groups = self._members.get(connection_id, (None, ()))
        if member is not None and message.group in groups and connection_id != message.exclude:
            self._hand(member, message, limit)

    def _deliver_control(self, message: dict[str, Any]) -> None:
        """Hand a control message to each member it is for; one that fails stops no other."""
        try:
            control = Control.read(message)
        except LookupError as error:
            if throttle.note(("control", str(error))):
                logger.warning("Ignored an unknown control message: %s.", error)
            return
        if control.group not in self._groups:
            self._channel.note_stale(control.group)
            return
        if control.is_logged:
            self._control_log.add(control.target, control.message)
        entry = self._groups.get(control.target)
        for member in list(entry.members.values()) if entry else ():
            _tell(member, control.message)

    def _add_to_held(
        self, member: Member, held: MessageBuffer, message: Message, limit: int
    ) -> None:
        held.add(NEVER_SENT, message)
        if held.bytes > limit:
            del self._held[member.connection_id]
            reason = "too much came in while rights were read"
            _tell(member, Close(int(CloseCode.OVERLOADED), reason))

    async def _join_first(
        self, member: Member, group: str, entry: Group[Member], is_confirmed: bool
    ) -> None:
        try:
            async with entry.lock:
                if not entry.members:
                    await self._channel.add(group, is_confirmed=is_confirmed)
                else:
                    await self._channel.until_healthy()
                self._enter(member, group, entry)
        except LookupError:
            await self._channel.discard(group)
            raise

    def _enter(self, member: Member, group: str, entry: Group[Member]) -> None:
        known = self._members.get(member.connection_id)
        if known is None or known[0] is not member:
            raise LookupError(f"connection {member.connection_id} is gone")
        known[1].add(group)
        entry.members[member.connection_id] = member

    async def _start(self) -> None:
        async with self._starting:
            if self._channel.probe is not None:
                return
            await self._channel.open()
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep_forever())
            try:
                await self._receive_control()
            except BaseException:
                await self._halt()
                raise

    async def _receive_control(self) -> None:
        self._members[self._control_subscriber.connection_id] = (self._control_subscriber, set())
        await self.join(self._control_subscriber, control_group())

    async def _stop(self) -> None:
        """Listen to nothing any more, and be nobody's hub."""
        _hubs.drop(self)
        await self._halt()

    async def _halt(self) -> None:
        await self.leave(self._control_subscriber, control_group())
        self._members.pop(self._control_subscriber.connection_id, None)
        sweeper, self._sweeper = self._sweeper, None
        await self._channel.close(sweeper)

    async def _sweep_forever(self) -> None:
        """One clock for all connections: heartbeats, and groups before the layer forgets them."""
        while True:
            await asyncio.sleep(_sweep_interval())
            self._channel.restart_receiver()
            try:
                await self._sweep(time.monotonic())
            except Exception:
                logger.exception("Heartbeats could not be checked or groups not be renewed.")

    async def _sweep(self, now: float) -> None:
        deadline = now - _silence()
        for member, _ in list(self._members.values()):
            member.check_heartbeat(deadline)
        self._sweep_places(now)
        if self._channel.is_forgotten(now):
            await self._mend()

    def _sweep_places(self, now: float) -> None:
        over = self._places.sweep(now, conf.RESUME_PERIOD)
        if over and (self._forgetting is None or self._forgetting.done()):
            # The last one stops the hub, and with it the sweep.
            self._forgetting = asyncio.get_running_loop().create_task(self._forget(over))

    async def _forget(self, places: Sequence[ResumeBuffer]) -> None:
        for place in places:
            if place.is_over(time.monotonic()):
                await self.remove(place)

    async def _mend(self) -> None:
        """Have the layer know the groups with members, who may have missed an order meanwhile."""
        await self._channel.renew()
        self._control_log.add(authenticated_group(), Recheck())
        for member, _ in list(self._members.values()):
            _tell(member, Recheck())


def _tell(member: Member, message: ControlMessage) -> None:
    try:
        member.receive_control(message)
    except Exception:
        logger.exception("A connection failed at a control message.")


def _silence() -> float:
    """Seconds for which a client that sends pings may say nothing."""
    return conf.HEARTBEAT_INTERVAL + conf.HEARTBEAT_TIMEOUT


def _sweep_interval() -> float:
    """Seconds: often enough that a short heartbeat, as tests have it, is kept to."""
    try:
        return max(0.02, min(1.0, _silence() / 8))
    except ImproperlyConfigured:
        return 1.0


_hubs: Final = PerLoop(Hub)
#: A log outlives its hub, which stops with its last connection: the client may come back at once.
_control_logs: Final = PerLoop(ControlLog)


def get_hub() -> Hub:
    """The hub of the running event loop."""
    return _hubs.get()


def keeps_resume_buffers() -> bool:
    """Whether a connection that dropped has a place in the running event loop still."""
    hub = _hubs.find()
    return hub is not None and hub.keeps_resume_buffers
