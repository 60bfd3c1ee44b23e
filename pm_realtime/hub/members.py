"""The connections of a hub, as the hub knows them."""

from typing import Protocol

from pm_realtime.hub.messages import NEVER_SENT
from pm_realtime.layer import ControlMessage

#: A user and the digest of a session, each None if there is none.
OwnerKey = tuple[int | str | None, str | None]


class Member(Protocol):
    """A connection. ``tests/contracts/test_hub_members.py`` is the contract."""

    @property
    def connection_id(self) -> str: ...

    @property
    def owner_key(self) -> OwnerKey | None:
        """The owner whose next connection may get the messages that this one misses.

        None if no connection may, and while that is uncertain.
        """

    def deliver(self, text: str) -> float:
        """Send ``text`` without waiting. Returns its number among the frames after ``connected``,
        or ``NEVER_SENT``.
        """

    def deliver_all(self, texts: tuple[str, ...]) -> float:
        """Send several texts, each in a frame of its own. Returns the number of the last."""

    def receive_control(self, message: ControlMessage) -> None:
        """Begin to carry out a control message. Never waits."""

    def check_heartbeat(self, deadline: float) -> None:
        """End if the last frame came before ``deadline`` (monotonic seconds)."""

    def give_way(self) -> None:
        """End: the client goes on with another connection."""


class SilentMember:
    """A member that nothing is sent to."""

    __slots__ = ()

    def deliver(self, text: str) -> float:
        return NEVER_SENT

    def deliver_all(self, texts: tuple[str, ...]) -> float:
        return NEVER_SENT

    def receive_control(self, message: ControlMessage) -> None:
        pass

    def check_heartbeat(self, deadline: float) -> None:
        pass

    def give_way(self) -> None:
        pass


class ControlSubscriber(SilentMember):
    """Keeps the hub in the group of control messages."""

    connection_id = "control"
    owner_key = None
