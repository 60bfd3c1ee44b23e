"""What the hub knows of those it delivers to, and of the groups they are in."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pm_realtime.messages import NEVER_SENT
from pm_realtime.places import Holder
from pm_realtime.wire import ControlMessage


class Member(Protocol):
    """What the hub knows of a connection."""

    @property
    def connection_id(self) -> str: ...

    @property
    def holder(self) -> Holder | None:
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
    holder = None

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


class Group:
    """The members of one group, by connection.

    ``lock`` is held by who has the layer add the group or discard it.
    """

    __slots__ = ("lock", "members", "users")

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.lock = asyncio.Lock()
        self.users = 0


class Groups(dict[str, Group]):
    """The groups of one hub by name: those with members, and those being joined or left."""

    @contextmanager
    def using(self, name: str) -> Iterator[Group]:
        """The group of that name, which stays the same one until the block ends."""
        group = self.get(name)
        if group is None:
            group = self[name] = Group()
        group.users += 1
        try:
            yield group
        finally:
            group.users -= 1
            if not group.users and not group.members:
                del self[name]
