"""The delivery of messages to the members of a hub.

The text of a message goes to every member as it is. Other tasks of the event loop get a turn in
between, however many members there are.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from typing import Final

from pm_realtime.conf import conf
from pm_realtime.layer import Close
from pm_realtime.protocol import CloseCode
from pm_realtime.streams import Burst, HeldMessages, Member, Message, Registry, hand_control

logger = logging.getLogger("pm_realtime.push")

#: Members that are served before other tasks get a turn.
MEMBERS_PER_TURN: Final = 250
#: The time after which they get one, however few members were served.
DELIVERY_TURN_SECONDS: Final = 0.002
#: Members served between two looks at the clock; fewer if each gets several messages.
MEMBERS_PER_CHECK: Final = 50


class FanOut:
    """Belongs to one hub."""

    def __init__(self, registry: Registry, members_per_turn: int = MEMBERS_PER_TURN) -> None:
        self._registry = registry
        self._members_per_turn = members_per_turn
        self._members_per_check = min(members_per_turn, MEMBERS_PER_CHECK)
        #: By the id of each connection whose rights are uncertain.
        self._held: dict[str, HeldMessages] = {}
        self._served, self._turn_began_at = 0, 0.0

    def hold(self, member: Member) -> None:
        """Keep the messages for ``member`` back until :meth:`release_held`."""
        if member in self._registry:
            self._held.setdefault(member.connection_id, HeldMessages())

    def release_held(self, member: Member) -> None:
        """Deliver what was held for ``member``, except from groups that it has left meanwhile."""
        if held := self._held.pop(member.connection_id, None):
            for message in held.messages:
                if message.is_volatile:
                    member.deliver_volatile((message.text,), (message.sender,))
                else:
                    member.deliver(message.text)

    def forget_held(self, connection_id: str, group: str | None = None) -> None:
        """Drop the messages of ``group`` that are held for a connection, or all of them."""
        if group is None:
            self._held.pop(connection_id, None)
        elif held := self._held.get(connection_id):
            held.drop(group)

    def begin_turn(self) -> None:
        self._served, self._turn_began_at = 0, time.monotonic()

    async def deliver(
        self, members: Mapping[str, Member], burst: Burst, entered: Collection[str]
    ) -> None:
        """Deliver ``burst`` to the present ``members`` but those that ``entered`` meanwhile."""
        max_bytes = conf.MAX_QUEUE_BYTES
        hand_burst = self._hand_volatile if burst.senders else self.hand_burst_to
        single = burst.messages[0] if len(burst.messages) == 1 and not burst.senders else None
        connection_ids = list(members)
        step = max(1, self._members_per_check // len(burst.messages))
        for start in range(0, len(connection_ids), step):
            chunk = connection_ids[start : start + step]
            await self._serve(len(chunk))
            for connection_id in chunk:
                member = members.get(connection_id)
                # It may have left meanwhile, and joined again.
                if member is None or (entered and connection_id in entered):
                    continue
                try:
                    if single is None:
                        hand_burst(member, burst, max_bytes)
                    elif connection_id != single.exclude:
                        self.hand_to(member, single, max_bytes)
                except Exception:
                    logger.exception("A message could not be delivered to a connection.")

    async def _serve(self, members: int) -> None:
        """Count ``members``; give other tasks a turn first if this turn is over."""
        is_long = time.monotonic() - self._turn_began_at > DELIVERY_TURN_SECONDS
        if self._served and (is_long or self._served + members > self._members_per_turn):
            await _give_turn()
            self.begin_turn()
        self._served += members

    def hand_burst_to(
        self, member: Member, burst: Burst, max_bytes: int, former_ids: Collection[str] = ()
    ) -> None:
        """Deliver ``burst``, but what was not for ``member`` or one of its client's former
        connections."""
        connection_id, excluded = member.connection_id, burst.excluded
        is_whole = connection_id not in excluded and excluded.isdisjoint(former_ids)
        if is_whole and connection_id not in self._held:
            member.deliver_all(burst.texts)
            return
        for message in burst.messages:
            if message.exclude != connection_id and message.exclude not in former_ids:
                self.hand_to(member, message, max_bytes)

    def _hand_volatile(self, member: Member, burst: Burst, max_bytes: int) -> None:
        """Deliver volatile messages, but those of ``member`` itself, or hold them."""
        connection_id = member.connection_id
        if connection_id not in burst.excluded and connection_id not in self._held:
            member.deliver_volatile(burst.texts, burst.senders)
            return
        for message in burst.messages:
            if message.exclude == connection_id:
                continue
            if connection_id in self._held:
                self.hand_to(member, message, max_bytes)
            else:
                member.deliver_volatile((message.text,), (message.sender,))

    def hand_to(self, member: Member, message: Message, max_bytes: int) -> None:
        """Deliver ``message`` to ``member``, or hold it; at most ``max_bytes`` are held."""
        if self._held and (held := self._held.get(member.connection_id)) is not None:
            held.add(message)
            if held.bytes > max_bytes:
                del self._held[member.connection_id]
                reason = "too much came in while rights were read"
                hand_control(member, Close(int(CloseCode.OVERLOADED), reason))
            return
        member.deliver(message.text)


async def _give_turn() -> None:
    """Let other tasks run. A cancellation waits for an ``await`` after the delivery.

    A member may have caused it, and the members after that one get their message all the same.
    """
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if task := asyncio.current_task():
            task.cancel()
