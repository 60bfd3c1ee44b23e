"""What the hub knows of those it delivers to."""

from typing import Any, Protocol

from pm_realtime.places import NEVER_SENT, Holder


class Member(Protocol):
    """What the hub knows of a connection."""

    @property
    def connection_id(self) -> str: ...

    @property
    def holder(self) -> Holder | None:
        """Whose place this is to have; None while that is in doubt."""

    def deliver(self, text: str) -> float:
        """Send ``text`` without ever waiting; which frame after ``connected`` it is."""

    def instruct(self, instruction: str, arguments: dict[str, Any]) -> None:
        """Begin what server code elsewhere asked of this connection."""

    def check_heartbeat(self, deadline: float) -> None:
        """End the connection where its last frame is older than ``deadline``, monotonic seconds."""

    def give_way(self) -> None:
        """End: the client has gone on with another connection."""


class Listener:
    """Keeps the hub in the group of orders: a member that gets nothing."""

    connection_id = "orders"
    holder = None

    def deliver(self, text: str) -> float:
        return NEVER_SENT

    def instruct(self, instruction: str, arguments: dict[str, Any]) -> None:
        pass

    def check_heartbeat(self, deadline: float) -> None:
        pass

    def give_way(self) -> None:
        pass
