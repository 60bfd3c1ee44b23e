"""The rates of one connection's commands and malformed frames."""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from pm_realtime.concurrency import FairQueue, PerLoop
from pm_realtime.conf import Rate, conf, parse_rate
from pm_realtime.connection.rate_limits import MAX_BUCKETS, RateLimiter, Refusals
from pm_realtime.connection.senders import get_senders, sender_of
from pm_realtime.connection.state import Connection
from pm_realtime.exceptions import CloseConnection, CommandError
from pm_realtime.protocol import CloseCode, ErrorCode

#: Malformed frames in a window of the rate that are answered at once.
MALFORMED_AT_ONCE: Final = 10
#: For the states that a client sets in a room. They are not written more often than ten times a
#: second.
STATE_RATE: Final = "50/s"
#: Seconds of volatile messages, and of states, that may come late and all at once, as after a
#: break of a mobile network: that is no flood.
VOLATILE_STALL_SECONDS: Final = 5
#: The connections of an event loop that send one malformed frame after another.
_malformed: Final = PerLoop(FairQueue)


@dataclass(slots=True, eq=False, repr=False)
class Rates:
    """Belongs to one connection and its event loop."""

    _connection: Connection
    #: The sender, and its limiter; None until the first command.
    _sender: Hashable = None
    _limiter: RateLimiter | None = None
    #: By bucket; None is that of ``RATE_LIMIT``.
    _refusals: dict[Hashable, Refusals] | None = None
    #: Commands to join a room that take nothing from the rate.
    _free_joins: int = 0

    def check_join(self) -> None:
        """Count a command to join a room, as :meth:`check` does; the first few of a page are free.

        A page joins its rooms each time it is loaded, and that is no flood: the rate of handshakes
        limits it.
        """
        if conf.RATE_LIMIT is None:
            return
        if self._limiter is None:
            self._find_limiter()
        if self._free_joins:
            self._free_joins -= 1
        else:
            self.check()

    def check(self, room: str | None = None) -> None:
        """Count a command. Raises ``CommandError`` over ``RATE_LIMIT``, ``CloseConnection`` far
        over. ``room`` is named in the error."""
        if (setting := conf.RATE_LIMIT) is None:
            return
        rate = parse_rate(setting)
        now = self._connection.connection_timings.clock()
        if wait := (self._limiter or self._find_limiter()).take(rate, now):
            self._note_refusal(None, rate, now)
            raise _refusal(f"{setting} messages", wait, room)

    def check_message(self, setting: str | None, room: str, *, is_volatile: bool = False) -> None:
        """Count a message to ``room``, as :meth:`check` does, but against its own rate alone.

        ``setting`` is that rate; None: ``RATE_LIMIT`` counts it.
        """
        if setting is None:
            self.check(room)
        else:
            seconds = VOLATILE_STALL_SECONDS if is_volatile else 0
            self._check(("room", room), setting, "messages in this room", room, seconds)

    def check_state(self, room: str, *, has_own_rate: bool) -> None:
        """Count a state that a client sets in ``room``, as :meth:`check_message` does a volatile
        message. A room that is not joined has no rate of its own: else each name had one."""
        if has_own_rate:
            what = "states in this room"
            self._check(("state", room), STATE_RATE, what, room, VOLATILE_STALL_SECONDS)
        else:
            self.check(room)

    def check_command(self, setting: str | None, type: str, room: str | None = None) -> None:
        """Count a command of the site as :meth:`check_message` does a message, in all rooms
        together."""
        if setting is None:
            self.check(room)
        else:
            self._check(("command", type), setting, "of these commands", room)

    def _check(
        self,
        bucket: Hashable,
        setting: str,
        what: str,
        room: str | None,
        abuse_seconds: int = 0,
    ) -> None:
        """``abuse_seconds`` is for how long at least refusals are counted as one flood."""
        rate = parse_rate(setting)
        now = self._connection.connection_timings.clock()
        if wait := (self._limiter or self._find_limiter()).take_from(bucket, rate, now):
            windows = max(1, abuse_seconds // rate.seconds)
            abuse = Rate(rate.count * windows, rate.seconds * windows)
            self._note_refusal(bucket, abuse, now)
            raise _refusal(f"{setting} {what}", wait, room)

    def _note_refusal(self, bucket: Hashable, rate: Rate, now: float) -> None:
        if self._refusals is None:
            self._refusals = {}
        elif len(self._refusals) >= MAX_BUCKETS and bucket not in self._refusals:
            del self._refusals[next(iter(self._refusals))]
        if self._refusals.setdefault(bucket, Refusals()).add(rate, now):
            raise CloseConnection(CloseCode.RATE_LIMITED, "rate limit broken again and again")

    async def wait_after_malformed(self) -> None:
        """After one malformed frame of many, wait for a turn. Raises ``CloseConnection`` if there
        are too many.

        All connections that send such frames share one queue and one limit, so that together they
        cost the others little more than one does.
        """
        if (setting := conf.RATE_LIMIT) is None:
            return
        timings = self._connection.connection_timings
        limiter = self._limiter or self._find_limiter()
        count = limiter.count_malformed(parse_rate(setting), timings.clock())
        if count <= MALFORMED_AT_ONCE:
            return
        queue = _malformed.get()
        if count * (len(queue) + 1) > timings.max_malformed_frames:
            raise CloseConnection(CloseCode.RATE_LIMITED, "a flood of malformed messages")
        await queue.wait()

    def leave(self) -> None:
        """Keep the rate for the next connection of the same sender."""
        limiter, self._limiter = self._limiter, None
        if limiter is None or self._sender is None:
            return
        setting = conf.RATE_LIMIT
        rate = parse_rate(setting) if setting is not None else None
        now = self._connection.connection_timings.clock()
        get_senders().keep(self._sender, limiter, now, rate)

    def _find_limiter(self) -> RateLimiter:
        self._sender = sender_of(self._connection)
        is_shared = self._connection.identity.is_authenticated
        self._limiter = get_senders().limiter_for(self._sender, is_shared=is_shared)
        if self._limiter.has_history:
            self._free_joins = conf.MAX_ROOMS_PER_CONNECTION
        return self._limiter


def _refusal(limit: str, wait: float, room: str | None = None) -> CommandError:
    return CommandError(
        ErrorCode.RATE_LIMITED,
        f"Expected at most {limit}; wait and try again.",
        room=room,
        retryAfter=math.ceil(wait * 1000),
    )
