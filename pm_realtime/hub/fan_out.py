"""The delivery of messages to the members of a hub.

The text of a message goes to every member as it is. Other tasks of the event loop get a turn in
between, however many members there are.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from pm_realtime.conf import conf
from pm_realtime.hub.control_log import ControlLog
from pm_realtime.hub.members import Member, Registry
from pm_realtime.hub.messages import NEVER_SENT, Burst, Message, MessageBuffer, bursts
from pm_realtime.hub.resume import ResumeBuffers
from pm_realtime.layer import Close, Control, ControlMessage, Recheck, authenticated_group
from pm_realtime.protocol import CloseCode

logger = logging.getLogger("pm_realtime.push")

#: Members that are served before other tasks get a turn.
MEMBERS_PER_TURN: Final = 250
#: The time after which they get one, however few members were served.
DELIVERY_TURN_SECONDS: Final = 0.002
#: Members served between two looks at the clock; fewer if each gets several messages.
MEMBERS_PER_CHECK: Final = 50


class FanOut:
    """Belongs to one hub. Its process channel uses it as a ``MessageHandler``."""

    def __init__(
        self,
        registry: Registry,
        missed: ResumeBuffers,
        control_log: ControlLog,
        members_per_turn: int = MEMBERS_PER_TURN,
    ) -> None:
        self._registry = registry
        self._missed = missed
        self._noted = missed.noted
        self._control_log = control_log
        self._members_per_turn = members_per_turn
        self._members_per_check = min(members_per_turn, MEMBERS_PER_CHECK)
        #: Messages for members whose rights are uncertain, by connection id.
        self._held: dict[str, MessageBuffer] = {}
        #: The number of the last message whose fan-out has begun.
        self._serial = 0
        self._served, self._turn_began_at = 0, 0.0

    def hold(self, member: Member) -> None:
        """Keep the messages for ``member`` back until :meth:`release_held`."""
        if member in self._registry:
            self._held.setdefault(member.connection_id, MessageBuffer())

    def release_held(self, member: Member) -> None:
        """Deliver what was held for ``member``, except from groups that it has left meanwhile."""
        if held := self._held.pop(member.connection_id, None):
            for _, message in held.messages:
                self._hand_to(member, message, conf.MAX_QUEUE_BYTES)

    def forget_held(self, connection_id: str, group: str | None = None) -> None:
        """Drop the messages of ``group`` that are held for a connection, or all of them."""
        if group is None:
            self._held.pop(connection_id, None)
        elif held := self._held.get(connection_id):
            held.take({group})

    def deliver_missed(self, member: Member, group: str) -> None:
        """Deliver what ``member`` has missed in ``group``, which it has joined in this instant."""
        for message in self._missed.hand_over(member.connection_id, group, self._serial):
            self._hand_to(member, message, conf.MAX_QUEUE_BYTES)

    def begin_turn(self) -> None:
        self._served, self._turn_began_at = 0, time.monotonic()

    async def deliver(
        self, group: str, members: dict[str, Member], pushes: Sequence[dict[str, Any]]
    ) -> None:
        for burst in bursts(group, pushes, self._serial):
            self._serial = burst.messages[-1].serial
            await self._deliver_burst(members, burst)

    async def _deliver_burst(self, members: dict[str, Member], burst: Burst) -> None:
        max_bytes = conf.MAX_QUEUE_BYTES
        single = burst.messages[0] if len(burst.messages) == 1 else None
        connection_ids = list(members)
        step = max(1, self._members_per_check // len(burst.messages))
        for start in range(0, len(connection_ids), step):
            chunk = connection_ids[start : start + step]
            await self._serve(len(chunk))
            for connection_id in chunk:
                # It may have left meanwhile, or a stand-in may have replaced it.
                member = members.get(connection_id)
                if member is None:
                    continue
                try:
                    if single is None:
                        self._hand_burst_to(member, burst, max_bytes)
                    elif connection_id != single.exclude:
                        self._hand_to(member, single, max_bytes)
                except Exception:
                    logger.exception("A message could not be delivered to a connection.")

    async def _serve(self, members: int) -> None:
        """Count ``members``; give other tasks a turn first if this turn is over."""
        is_long = time.monotonic() - self._turn_began_at > DELIVERY_TURN_SECONDS
        if self._served and (is_long or self._served + members > self._members_per_turn):
            await asyncio.sleep(0)
            self.begin_turn()
        self._served += members

    def _hand_burst_to(self, member: Member, burst: Burst, max_bytes: int) -> None:
        connection_id = member.connection_id
        if connection_id in self._held or connection_id in burst.excluded:
            for message in burst.messages:
                if message.exclude != connection_id:
                    self._hand_to(member, message, max_bytes)
            return
        last = member.deliver_all(burst.texts)
        if self._noted and (noted := self._noted.get(connection_id)) is not None:
            number = last - len(burst.messages)
            for message in burst.messages:
                number += 1
                if (taker := noted.note(number, message, max_bytes // 2)) is not None:
                    self._hand_to_taker(taker, message, max_bytes)

    def _hand_to(self, member: Member, message: Message, max_bytes: int) -> None:
        """Deliver ``message`` to ``member``, or hold it; at most ``max_bytes`` are held."""
        connection_id = member.connection_id
        if self._held and (held := self._held.get(connection_id)) is not None:
            held.add(NEVER_SENT, message)
            if held.bytes > max_bytes:
                del self._held[connection_id]
                reason = "too much came in while rights were read"
                _receive_control(member, Close(int(CloseCode.OVERLOADED), reason))
            return
        number = member.deliver(message.text)
        if self._noted and (noted := self._noted.get(connection_id)) is not None:
            taker = noted.note(number, message, max_bytes // 2)
            if taker is not None:
                self._hand_to_taker(taker, message, max_bytes)

    def _hand_to_taker(self, connection_id: str, message: Message, max_bytes: int) -> None:
        entry = self._registry.groups.get(message.group)
        member = entry.members.get(connection_id) if entry else None
        if member is not None and connection_id != message.exclude:
            self._hand_to(member, message, max_bytes)

    def deliver_control(self, control: Control) -> None:
        if control.target != control.group:
            self._control_log.add(control.target, control.message)
        entry = self._registry.groups.get(control.target)
        for member in list(entry.members.values()) if entry else ():
            _receive_control(member, control.message)

    def recheck_all(self) -> None:
        # The log is for connections that are just joining.
        self._control_log.add(authenticated_group(), Recheck())
        for member in self._registry:
            _receive_control(member, Recheck())


def _receive_control(member: Member, message: ControlMessage) -> None:
    try:
        member.receive_control(message)
    except Exception:
        logger.exception("A connection failed at a control message.")
