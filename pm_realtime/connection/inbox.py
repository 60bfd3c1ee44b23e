"""The commands of one connection: decoded, counted against its rate, carried out one by one."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from pm_realtime.commands import check_form, handle, is_instant
from pm_realtime.conf import conf
from pm_realtime.connection.outbox import Outbox
from pm_realtime.connection.rates import Rates
from pm_realtime.connection.state import Connection
from pm_realtime.exceptions import CloseConnection, CommandError, OutageError
from pm_realtime.observability import log_failure, log_rate_limit
from pm_realtime.protocol import (
    INTERNAL_ERROR,
    CloseCode,
    Command,
    ErrorCode,
    MessageType,
    decode,
    error_payload,
)

logger = logging.getLogger("pm_realtime.connection")

#: Commands that may wait behind a slow one before no more frames are read.
MAX_WAITING_COMMANDS: Final = 100


@dataclass(slots=True, eq=False, repr=False)
class Inbox:
    """Belongs to one connection and its event loop."""

    _connection: Connection
    _outbox: Outbox
    _rates: Rates
    #: A list, as an empty deque takes 700 bytes and most connections never use it.
    _commands: list[Command] = field(default_factory=list)
    #: The task that carries out commands; None while there are none.
    worker: asyncio.Task[None] | None = None
    has_pinged: bool = False

    async def receive(self, frame: str | bytes | None) -> None:
        """Carry out the command in ``frame`` after those before it.

        Returns when it is done or takes long, because of a rule of the site, say. A slow command
        holds up the commands behind it, but no ping: the connection is alive. A malformed frame is
        answered and does not count against the rate.
        """
        command: Command | None = None
        is_well_formed = False
        try:
            command = decode(frame, max_bytes=conf.MAX_MESSAGE_BYTES)
            is_ping = command.type == MessageType.PING
            self.has_pinged |= is_ping
            check_form(command)
            is_well_formed = True
            self._check_rate(command)
            if is_ping or (self.worker is None and is_instant(self._connection, command)):
                await handle(self._connection, command)
            else:
                await self._put(command)
        except Exception as error:
            self._answer(error, command)
            if not is_well_formed and not self._outbox.is_closed:
                await self._slow_down()

    async def finish(self, seconds: float | None = None) -> None:
        """Carry out the commands that wait, for at most ``seconds``."""
        if self.worker is not None:
            await asyncio.wait({self.worker}, timeout=seconds)

    async def finish_messages(self) -> None:
        """After the client's end: carry out its messages to others, drop the rest."""
        if not any(each.type == MessageType.MESSAGE for each in self._commands):
            self._commands.clear()
        await self.finish()

    def _check_rate(self, command: Command) -> None:
        if command.type == MessageType.SUBSCRIBE:
            self._rates.check_join()
        else:
            self._rates.check()

    async def _slow_down(self) -> None:
        try:
            await self._rates.wait_after_malformed()
        except CloseConnection as flood:
            self._answer(flood, None)

    async def _put(self, command: Command) -> None:
        self._commands.append(command)
        if self.worker is None:
            self.worker = asyncio.get_running_loop().create_task(self._carry_out_all())
            await asyncio.wait(
                {self.worker}, timeout=self._connection.connection_timings.slow_command_seconds
            )
        elif len(self._commands) > MAX_WAITING_COMMANDS:
            await asyncio.wait({self.worker})

    async def _carry_out_all(self) -> None:
        try:
            while self._commands and not self._outbox.is_closed:
                command = self._commands.pop(0)
                try:
                    await handle(self._connection, command)
                except Exception as error:
                    self._answer(error, command)
        finally:
            self.worker = None

    def _answer(self, error: Exception, command: Command | None) -> None:
        """The one place that turns an error into a reply or a close code."""
        connection = self._connection
        if isinstance(error, CloseConnection):
            if error.code == CloseCode.RATE_LIMITED:
                connection.end_flood(error.reason)
            else:
                connection.end(error.code, error.reason)
            return
        if not isinstance(error, CommandError):
            if not isinstance(error, OutageError):  # The log has the outage already.
                log_failure(logger, "A command failed.", error)
            error = CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR)
        elif error.code == ErrorCode.RATE_LIMITED:
            log_rate_limit(connection.connection_id, connection.identity.user_id)
        id = command.id if command is not None else error.id
        connection.send_reply(MessageType.ERROR, error_payload(error), id)
