"""The connections of a hub, as the hub knows them."""

import logging
from collections.abc import Sequence
from typing import Protocol

from pm_realtime.layer import ControlMessage, Memberships
from pm_realtime.streams.messages import Sender

logger = logging.getLogger("pm_realtime.push")


class Member(Protocol):
    """A connection. ``tests/contracts/test_hub_members.py`` is the contract."""

    @property
    def connection_id(self) -> str: ...

    def deliver(self, text: str) -> object:
        """Send ``text`` without waiting."""

    def deliver_all(self, texts: tuple[str, ...]) -> object:
        """Send several texts without waiting, each in a frame of its own."""

    def deliver_volatile(self, texts: tuple[str, ...], senders: Sequence[Sender]) -> object:
        """Send texts, each of one of ``senders``, without waiting if there is room.

        Otherwise they are sent once there is, and each takes the place of an earlier one that waits
        from the same sender.
        """

    def has_room(self) -> bool:
        """Whether a page can be delivered now: nothing waits, or the handshake is not over."""

    async def until_drained(self) -> None:
        """Return when more can be delivered without much of it waiting; at once if nothing waits.

        Not while its rights are uncertain. Also if the connection has ended.
        """

    def receive_control(self, message: ControlMessage) -> None:
        """Begin to carry out a control message. Never waits."""

    def check_heartbeat(self, deadline: float) -> None:
        """End if the last frame came before ``deadline`` (monotonic seconds).

        Also if the client reads nothing of too much that waits for it.
        """


def hand_control(member: Member, message: ControlMessage) -> None:
    """Hand ``message`` to ``member``; an error in it is logged."""
    try:
        member.receive_control(message)
    except Exception:
        logger.exception("A connection failed at a control message.")


#: The members of one hub.
Registry = Memberships[Member]
