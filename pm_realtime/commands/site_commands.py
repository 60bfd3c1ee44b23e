"""A command of the site's own that a client has sent: may it be carried out, and its answer."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from orjson import Fragment

from pm_realtime.commands.claims import Claim, command_key
from pm_realtime.commands.decisions import convert_payload, find_refusal, route_values
from pm_realtime.commands.declarations import Declaration
from pm_realtime.commands.site_calls import (
    SiteCall,
    TimedOut,
    answer_to,
    commands_under_way,
    is_never_lost,
)
from pm_realtime.conf import conf
from pm_realtime.exceptions import CommandError
from pm_realtime.observability import throttle
from pm_realtime.protocol import INTERNAL_ERROR, Command, ErrorCode, MessageType
from pm_realtime.rooms import Connection
from pm_realtime.schemas import InvalidPayload
from pm_realtime.texts import size_of

logger = logging.getLogger("pm_realtime.commands")

#: Part of ``MAX_QUEUE_BYTES`` that a result may have. The rest is for its envelope.
MAX_RESULT_PART: Final = 0.99


class _Dropped(Exception):
    """The command is not to begin any more: its client has gone."""


@dataclass(slots=True, eq=False)
class SiteCommand:
    """Made by :meth:`read`. Belongs to one connection and its event loop."""

    connection: Connection
    declaration: Declaration
    #: As the client sent it.
    command: Command
    #: The room that it is about.
    room: str | None
    #: The values that the route of the room captured.
    values: Mapping[str, Any]
    #: As the function's annotation says.
    payload: Any = None
    #: Why its rights refuse it, as far as they are certain.
    refusal: CommandError | None = None
    is_dropped: bool = False
    #: In which it is carried out, from its begin on.
    _task: "asyncio.Task[Any] | None" = None

    @classmethod
    def read(
        cls, connection: Connection, declaration: Declaration, command: Command
    ) -> "SiteCommand":
        """The ``command`` with the values of its route and its payload as the annotations say.

        Raises ``CommandError`` if it is malformed.
        """
        _check_declaration(declaration)
        room = None if declaration.room is None else command.room
        self = cls(connection, declaration, command, room, route_values(declaration, command.room))
        if connection.is_certain:
            self.refusal = self._find_refusal()
        if self.refusal is None:
            self.payload = convert_payload(declaration, command.payload, self.room)
        return self

    @property
    def has_begun(self) -> bool:
        return self._task is not None

    def drop(self) -> None:
        """Have it not be carried out if it has not begun."""
        self.is_dropped = True

    async def carry_out(self) -> None:
        """Carry it out, and answer. Raises ``CommandError`` if it is refused or fails."""
        try:
            await self._until_allowed()
            key = command_key(self.connection, self.command)
            if key is None:
                self._answer(await self._run())
            else:
                await self._carry_out_once(Claim(key, self.declaration.timeout_seconds))
        except _Dropped:
            pass
        finally:
            # Only now, as a process that stops waits for what is under way.
            if self._task is not None:
                commands_under_way().discard(self._task)

    async def _carry_out_once(self, claim: Claim) -> None:
        is_mine, result = await claim.carry_out(
            lambda: self._run(claim.may_be_lost), lambda: self.is_dropped
        )
        if result is None:
            raise _Dropped if self.is_dropped else TimedOut(self._call())
        if is_mine:
            self._answer(result)
            await claim.keep(result)
        else:
            await self._until_allowed()
            self._answer(result)

    def _answer(self, result: str) -> None:
        if self.command.id is not None:
            self.connection.reply(MessageType.RESULT, Fragment(result), to=self.command)

    async def _run(self, is_lost: Callable[[], bool] = is_never_lost) -> str:
        call = self._call()
        call.is_lost = is_lost
        try:
            return await call.run()
        except _Dropped:
            raise
        except Exception as error:
            raise answer_to(error, f"The command {self.declaration.type}", self.room) from None

    def _call(self) -> SiteCall:
        declaration = self.declaration
        return SiteCall(
            name=declaration.type,
            bound=declaration.type,
            call=self._call_function,
            encode=self._encode,
            is_async=declaration.is_async,
            database=declaration.database,
            timeout_seconds=declaration.timeout_seconds,
            begin=self._begin,
        )

    def _encode(self, result: Any) -> str:
        """Raises ``InvalidPayload`` if ``result`` cannot be sent. A frame over 1 MiB ends a
        connection of daphne, and the client would call again, for good."""
        text: str = self.declaration.result.encode(result)
        if (size := size_of(text)) > MAX_RESULT_PART * conf.MAX_QUEUE_BYTES:
            raise InvalidPayload(f"Expected fewer bytes than MAX_QUEUE_BYTES, got {size}.")
        return text

    def _call_function(self) -> Any:
        return self.declaration.function(self._request(), **self._arguments())

    def _request(self) -> Command:
        command, identity = self.command, self.connection.identity
        return Command(
            type=command.type,
            payload=command.payload if self.declaration.payload is None else self.payload,
            id=command.id,
            room=self.room,
            user=identity.user,
            role=identity.role,
            connection_id=self.connection.connection_id,
        )

    def _arguments(self) -> dict[str, Any]:
        if self.declaration.payload is None:
            return dict(self.values)
        return {**self.values, "payload": self.payload}

    async def _begin(self) -> None:
        await self._until_allowed()
        if self.is_dropped or self.connection.is_ending:
            raise _Dropped
        self._task = task = cast("asyncio.Task[Any]", asyncio.current_task())
        commands_under_way().add(task)

    async def _until_allowed(self) -> None:
        """Wait until the rights are certain. Raises ``CommandError`` if they refuse."""
        connection = self.connection
        if not connection.is_certain:
            await connection.until_certain()
        if (refusal := self._find_refusal()) is not None:
            raise refusal
        if self.declaration.joined and self.room is not None and self.room not in connection.rooms:
            text = "Subscribe to the room before sending commands to it."
            raise CommandError(ErrorCode.NOT_IN_ROOM, text, room=self.room)

    def _find_refusal(self) -> CommandError | None:
        """Why the user may not do this; None if they may."""
        identity = self.connection.identity
        return find_refusal(
            self.declaration,
            self.room,
            is_authenticated=identity.is_authenticated,
            role=identity.role,
        )


def _check_declaration(declaration: Declaration) -> None:
    """Raise ``CommandError`` if the command cannot be called by anybody."""
    if not (faults := declaration.faults):
        return
    if count := throttle.note(("faulty command", declaration.type)):
        text = "The command %s refuses everybody: %s Refusals: %d."
        logger.error(text, declaration.type, faults[0].text, count)
    raise CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR)
