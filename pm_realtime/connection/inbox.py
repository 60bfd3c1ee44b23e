"""The commands of one connection: decoded, counted against its rate, carried out."""

import asyncio
import logging
from dataclasses import dataclass, field

from pm_realtime.commands import SiteCommand, as_volatile, handle, is_instant, read
from pm_realtime.conf import conf, message_options
from pm_realtime.connection.lanes import Key, Lanes
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


@dataclass(slots=True, eq=False, repr=False)
class Inbox:
    """Belongs to one connection and its event loop."""

    _connection: Connection
    _outbox: Outbox
    _rates: Rates
    has_pinged: bool = False
    lanes: Lanes = field(init=False)

    def __post_init__(self) -> None:
        self.lanes = Lanes(self._carry_out)

    async def receive(self, frame: str | bytes | None) -> None:
        """Carry out the command in ``frame`` after those before it for the same room.

        Returns when it is done or takes long, because of a rule of the site, say. A slow command
        holds up no ping: the connection is alive. A malformed frame is answered and does not count
        against the rate.
        """
        command: Command | None = None
        is_well_formed = False
        try:
            command = decode(frame, max_bytes=conf.MAX_MESSAGE_BYTES)
            is_ping = command.type == MessageType.PING
            self.has_pinged |= is_ping
            site_command = read(self._connection, command)
            is_well_formed = True
            if site_command is not None:
                await self._begin(site_command)
            elif command.type == MessageType.MESSAGE:
                if command.payload.get("volatile"):
                    command = as_volatile(command)
                await self._send_message(command)
            elif is_ping:
                self._rates.check()
                await handle(self._connection, command)
            else:
                await self._do_in_room(command)
        except Exception as error:
            self._answer(error, command)
            if not is_well_formed and not self._outbox.is_closed:
                await self._slow_down()

    async def _slow_down(self) -> None:
        try:
            await self._rates.wait_after_malformed()
        except CloseConnection as flood:
            self._answer(flood, None)

    async def _begin(self, command: SiteCommand) -> None:
        declaration = command.declaration
        self._rates.check_command(declaration.rate, declaration.type, command.room)
        if command.refusal is not None:
            raise command.refusal
        self.lanes.put_site_command(command)
        if self.lanes.is_full:
            await self.lanes.until_not_full()

    async def _send_message(self, command: Command) -> None:
        room: str = command.payload["room"]
        options = message_options(room)
        is_member = room in self._connection.rooms
        # Also while it joins the room. Else a client would have another rate for each name.
        if options is not None and (is_member or not self.lanes.is_free(room)):
            self._rates.check_message(options.rate, room, is_volatile=command.is_volatile)
        else:
            self._rates.check()
        lane: Key = ("volatile", room) if is_member and command.is_volatile else room
        if self.lanes.is_free(lane) and is_instant(self._connection, options):
            await handle(self._connection, command)
        else:
            await self._wait_for(self.lanes.put(command, lane))

    async def _do_in_room(self, command: Command) -> None:
        room: str = command.payload["room"]
        if command.type == MessageType.SUBSCRIBE:
            self._rates.check_join()
        elif command.type == MessageType.PRESENCE and "state" in command.payload:
            # In a busy lane, the room may be about to be joined.
            has_own_rate = room in self._connection.rooms or not self.lanes.is_free(room)
            self._rates.check_state(room, has_own_rate=has_own_rate)
        else:
            self._rates.check()
        await self._wait_for(self.lanes.put(command, room))

    async def _wait_for(self, worker: "asyncio.Task[None] | None") -> None:
        """Wait until the only command of the client is done, or takes long, or for a place.

        If others take long already, there is nothing to wait for.
        """
        if worker is not None:
            seconds = self._connection.connection_timings.slow_command_seconds
            await asyncio.wait({worker}, timeout=seconds)
        elif self.lanes.is_full:
            await self.lanes.until_not_full()

    async def _carry_out(self, item: Command | SiteCommand) -> None:
        if self._outbox.is_closed:
            return
        try:
            if isinstance(item, SiteCommand):
                await item.carry_out()
            else:
                await handle(self._connection, item)
        except Exception as error:
            self._answer(error, item.command if isinstance(item, SiteCommand) else item)

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
        try:
            connection.send_reply(MessageType.ERROR, error_payload(error), id)
        except Exception as failure:
            # Of the site's own, with data that JSON cannot hold.
            of = "" if command is None else f" of {command.type}"
            log_failure(logger, f"The error {error.code}{of} could not be written.", failure)
            payload = {"code": ErrorCode.INTERNAL_ERROR, "message": INTERNAL_ERROR}
            connection.send_reply(MessageType.ERROR, payload, id)
