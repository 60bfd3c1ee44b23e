"""The commands of one connection: counted against its rate, carried out one after the other."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from pm_realtime.commands import handle, is_instant
from pm_realtime.concurrency import FairQueue, PerLoop
from pm_realtime.conf import conf
from pm_realtime.connection.rate_limits import RateLimiter, parse_rate
from pm_realtime.exceptions import CloseConnection, CommandError
from pm_realtime.protocol import CloseCode, Command, ErrorCode, MessageType
from pm_realtime.rooms import Connection

#: Seconds after which a command takes long: frames behind it are looked at.
PATIENCE: Final = 0.05
#: Commands that may wait behind one that takes long before nothing more is read.
MAX_WAITING: Final = 100

#: Those of an event loop who send one malformed frame after the other.
_malformed: Final = PerLoop(FairQueue)

Answer = Callable[[Exception, Command], None]


class Inbox:
    """Belongs to one connection and its event loop; ``answer`` tells the client what went wrong."""

    __slots__ = ("_answer", "_commands", "_connection", "_is_closed", "_limiter", "_worker")

    def __init__(
        self, connection: Connection, answer: Answer, is_closed: Callable[[], bool]
    ) -> None:
        self._connection = connection
        self._answer = answer
        self._is_closed = is_closed
        self._limiter = RateLimiter()
        # A list, as an empty deque is 700 bytes: most connections never use it.
        self._commands: list[Command] = []
        self._worker: asyncio.Task[None] | None = None

    @property
    def worker(self) -> "asyncio.Task[None] | None":
        """The task in which commands are carried out; None while there are none."""
        return self._worker

    def check_rate(self) -> None:
        """Count one well-formed command.

        Raises ``CommandError`` where it is one too many, and ``CloseConnection`` where there were
        too many of those.
        """
        if (setting := conf.RATE_LIMIT) is None:
            return
        rate = parse_rate(setting)
        wait = self._limiter.take(rate, time.monotonic())
        if not wait:
            return
        if self._limiter.is_abused(rate):
            raise CloseConnection(CloseCode.RATE_LIMITED, "rate limit broken again and again")
        raise CommandError(
            ErrorCode.RATE_LIMITED,
            f"Expected at most {setting} messages; wait and try again.",
            retryAfter=math.ceil(wait * 1000),
        )

    async def slow_down(self) -> None:
        """After something malformed: wait in line where it is one of many.

        All who send such things stand in one line and share one patience, so that many of them
        cost the others little more than one. Raises ``CloseConnection`` where it is used up.
        """
        if (setting := conf.RATE_LIMIT) is None:
            return
        count = self._limiter.count_malformed(parse_rate(setting), time.monotonic())
        if count <= self._limiter.PATIENCE:
            return
        line = _malformed.get()
        if count * (len(line) + 1) > self._limiter.MALFORMED_PATIENCE:
            raise CloseConnection(CloseCode.RATE_LIMITED, "a flood of malformed messages")
        await line.wait()

    async def put(self, command: Command) -> None:
        """Carry out ``command`` after those before it; return when it is done or takes long.

        What takes long (a rule of the site, a layer that does not answer) holds up the commands
        behind it, but no ping: the connection is alive.
        """
        if command.type == MessageType.PING or (
            self._worker is None and is_instant(self._connection, command)
        ):
            await handle(self._connection, command)
            return
        self._commands.append(command)
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._carry_out_all())
            await asyncio.wait({self._worker}, timeout=PATIENCE)
        elif len(self._commands) > MAX_WAITING:
            await asyncio.wait({self._worker})

    async def finish(self) -> None:
        """The client has gone: what it said to others still goes out, the rest is moot."""
        if self._worker is None:
            return
        if not any(each.type == MessageType.MESSAGE for each in self._commands):
            self._commands.clear()
        await asyncio.wait({self._worker})

    async def _carry_out_all(self) -> None:
        try:
            while self._commands and not self._is_closed():
                command = self._commands.pop(0)
                try:
                    await handle(self._connection, command)
                except Exception as error:
                    self._answer(error, command)
        finally:
            self._worker = None
