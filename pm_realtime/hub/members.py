"""What the hub knows of the connections it delivers to."""

from typing import Protocol

from pm_realtime.hub.messages import NEVER_SENT
from pm_realtime.hub.resume import OwnerKey
from pm_realtime.layer import ControlMessage


class Member(Protocol):
    """What the hub knows of a connection."""

    @property
    def connection_id(self) -> str: ...

    @property
    def owner_key(self) -> OwnerKey | None:
        """Whose place this is to have; None while that is in doubt."""

    def deliver(self, text: str) -> float:
        """Send ``text`` without ever waiting; which frame after ``connected`` it is."""

    def deliver_all(self, texts: tuple[str, ...]) -> float:
        """Send several texts, each in a frame of its own; which frame the last of them is."""

    def receive_control(self, message: ControlMessage) -> None:
        """Begin to carry out a control message. Never waits."""

    def check_heartbeat(self, deadline: float) -> None:
        """End the connection where its last frame is older than ``deadline``, monotonic seconds."""

    def give_way(self) -> None:
        """End: the client has gone on with another connection."""


class ControlSubscriber:
    """Keeps the hub in the group of control messages: a member that gets nothing."""

    connection_id = "control"
    owner_key = None

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
