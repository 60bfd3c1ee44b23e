"""A connection as rooms and commands know it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from django.dispatch import Signal

from pm_realtime.auth import Identity
from pm_realtime.hub import Member, Start
from pm_realtime.protocol import Command

if TYPE_CHECKING:
    from pm_realtime.rooms.own_state import OwnState


class Connection(Member, Protocol):
    """The part of a connection that rooms and commands use."""

    connection_id: str
    #: The id of its client's first connection, as the client says.
    client_id: str
    #: The id of the client's last connection, which is over: this one takes its place. The earlier
    #: ones may be open, if the client is a copy of a tab.
    last_id: str | None
    identity: Identity
    #: The joined rooms, each with whether server code joined it.
    rooms: dict[str, bool]
    room_lock: asyncio.Lock
    #: By room: the state that its client sets there.
    own_states: "dict[str, OwnState]"

    # A number that grows each time identity and rights have been decided anew.
    @property
    def rights_version(self) -> int: ...
    @property
    def is_certain(self) -> bool: ...
    async def until_certain(self) -> None: ...
    # Whether it is closing or closed, as far as the server knows.
    @property
    def is_ending(self) -> bool: ...
    # Whether it is ending in a way after which its client is not expected to come back.
    @property
    def ends_for_good(self) -> bool: ...
    # The position of the last control message that has arrived.
    @property
    def control_position(self) -> str: ...
    def reply(self, type: str, payload: Any = None, *, to: Command | None = None) -> None: ...
    def deliver(self, text: str) -> None: ...
    # With the options of ``Hub.join``. Nothing is delivered before the control messages for the
    # group after ``told_up_to`` were carried out.
    async def join_group(
        self,
        group: str,
        *,
        told_up_to: str | None = None,
        on_start: Callable[[Start], None] | None = None,
        **options: Any,
    ) -> None: ...
    async def leave_group(self, group: str) -> None: ...
    # Run `work` beside the commands of the client, until the connection ends.
    def begin(self, work: Coroutine[Any, Any, None]) -> None: ...
    async def notify(self, signal: Signal, **arguments: Any) -> None: ...
