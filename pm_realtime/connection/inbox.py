"""The commands of one connection: decoded, counted against its rate, carried out one by one."""

import asyncio
import logging
import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from pm_realtime.commands import check_form, handle, is_instant
from pm_realtime.concurrency import FairQueue, PerLoop
from pm_realtime.conf import conf, parse_rate
from pm_realtime.connection.outbox import Outbox
from pm_realtime.connection.rate_limits import RateLimiter, Refusals
from pm_realtime.connection.senders import get_senders, sender_of
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
#: Malformed frames in a window of the rate that are answered at once.
MALFORMED_AT_ONCE: Final = 10
#: The connections of an event loop that send one malformed frame after another.
_malformed: Final = PerLoop(FairQueue)


@dataclass(slots=True, eq=False, repr=False)
class Inbox:
    """Belongs to one connection and its event loop."""

    _connection: Connection
    _outbox: Outbox
    #: The sender, and its limiter; None until the first command.
    _sender: Hashable = None
    _limiter: RateLimiter | None = None
    _refusals: Refusals | None = None
    #: Commands to join a room that take nothing from the rate.
    _free_joins: int = 0
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

    def leave(self) -> None:
        """Keep the rate for the next connection of the same sender."""
        limiter, self._limiter = self._limiter, None
        if limiter is None or self._sender is None:
            return
        if (setting := conf.RATE_LIMIT) is not None:
            now = self._connection.connection_timings.clock()
            get_senders().keep(self._sender, limiter, parse_rate(setting), now)

    def _find_limiter(self) -> RateLimiter:
        if self._limiter is None:
            self._sender = sender_of(self._connection)
            is_shared = self._connection.identity.is_authenticated
            self._limiter = get_senders().limiter_for(self._sender, is_shared=is_shared)
            # A page joins its rooms each time it is loaded, and that is no flood: the rate of
            # handshakes limits it.
            if self._limiter.has_history:
                self._free_joins = conf.MAX_ROOMS_PER_CONNECTION
        return self._limiter

    def _check_rate(self, command: Command) -> None:
        """Count a command. Raises ``CommandError`` over the rate, ``CloseConnection`` far over."""
        if (setting := conf.RATE_LIMIT) is None:
            return
        limiter = self._limiter or self._find_limiter()
        if self._free_joins and command.type == MessageType.SUBSCRIBE:
            self._free_joins -= 1
            return
        rate = parse_rate(setting)
        now = self._connection.connection_timings.clock()
        wait = limiter.take(rate, now)
        if not wait:
            return
        self._refusals = self._refusals or Refusals()
        if self._refusals.add(rate, now):
            raise CloseConnection(CloseCode.RATE_LIMITED, "rate limit broken again and again")
        raise CommandError(
            ErrorCode.RATE_LIMITED,
            f"Expected at most {setting} messages; wait and try again.",
            retryAfter=math.ceil(wait * 1000),
        )

    async def _slow_down(self) -> None:
        """After one malformed frame of many, wait for a turn; close if there are too many.

        All connections that send such frames share one queue and one limit, so that together they
        cost the others little more than one does.
        """
        if (setting := conf.RATE_LIMIT) is None:
            return
        limiter = self._limiter or self._find_limiter()
        count = limiter.count_malformed(
            parse_rate(setting), self._connection.connection_timings.clock()
        )
        if count <= MALFORMED_AT_ONCE:
            return
        queue = _malformed.get()
        if count * (len(queue) + 1) > self._connection.connection_timings.max_malformed_frames:
            flood = CloseConnection(CloseCode.RATE_LIMITED, "a flood of malformed messages")
            self._answer(flood, None)
        else:
            await queue.wait()

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
