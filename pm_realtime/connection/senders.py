"""The users and addresses that send commands: their rates and penalties outlive a connection.

They are known to one event loop. Other processes, and a restarted one, know nothing of them.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from weakref import WeakValueDictionary

from pm_realtime.concurrency import PerLoop
from pm_realtime.connection.gate import address_of
from pm_realtime.connection.rate_limits import Penalties, Rate, RateLimiter
from pm_realtime.connection.state import Connection
from pm_realtime.exceptions import CloseConnection
from pm_realtime.protocol import CloseCode

#: Limiters that are kept for the next connection of their sender, and the times in all of them.
MAX_KEPT_LIMITERS: Final = 20_000
MAX_KEPT_TIMES: Final = 2_000_000
#: Senders looked at for each one that is added. More than one, so that the oldest soon go.
SENDERS_PER_LOOK: Final = 10
#: Senders whose penalties are known.
MAX_PENALTIES: Final = 20_000
#: The longest penalty of a user.
MAX_USER_SECONDS: Final = 64.0
#: That of an address, which other visitors may have too: their clients do not give up before.
MAX_ADDRESS_SECONDS: Final = 8.0


@dataclass(slots=True, eq=False)
class Kept:
    """The limiters of one sender whose connections have ended, each with its number of times."""

    limiters: dict[RateLimiter, int] = field(default_factory=dict)
    ends_at: float = 0.0


class Senders:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self.penalties = Penalties(MAX_PENALTIES)
        #: Of users, as long as one of their connections, or `_kept`, refers to them.
        self._shared: WeakValueDictionary[Hashable, RateLimiter] = WeakValueDictionary()
        #: By sender: the limiters of connections that have ended.
        self._kept: dict[Hashable, Kept] = {}
        self._kept_limiters = self._kept_times = 0

    def __len__(self) -> int:
        """The number of limiters that are kept."""
        return self._kept_limiters

    def limiter_for(self, key: Hashable, *, is_shared: bool) -> RateLimiter:
        """The limiter for a connection of ``key``.

        If it ``is_shared``, it is that of all connections of ``key``. Otherwise no other connection
        uses it: many visitors may have one address, and each has a rate of their own, but nobody
        gets a new one by connecting again.
        """
        if is_shared:
            return self._shared.setdefault(key, RateLimiter())
        if (kept := self._kept.get(key)) is None or not kept.limiters:
            return RateLimiter()
        limiter, times = kept.limiters.popitem()
        self._count(-1, -times)
        return limiter

    def keep(self, key: Hashable, limiter: RateLimiter, now: float, rate: Rate | None) -> None:
        """Keep the limiter of a connection that has ended for the next one of ``key``.

        ``rate`` is that of malformed frames; None: they are not counted.
        """
        kept = self._kept.pop(key, None) or Kept()
        if limiter in kept.limiters:
            self._count(-1, -kept.limiters.pop(limiter))
        if limiter.has_history:
            kept.limiters[limiter] = times = limiter.count_all()
            self._count(1, times)
            ends_at = limiter.history_ends_at(rate.seconds if rate is not None else 0)
            kept.ends_at = max(kept.ends_at, ends_at)
        if kept.limiters:
            self._kept[key] = kept
        self._forget(now)

    def _count(self, limiters: int, times: int) -> None:
        self._kept_limiters += limiters
        self._kept_times += times

    def _forget(self, now: float) -> None:
        """Drop senders whose windows are over, and the earliest if too much is kept."""
        for key, kept in list(islice(self._kept.items(), SENDERS_PER_LOOK)):
            is_full = self._kept_limiters > MAX_KEPT_LIMITERS or self._kept_times > MAX_KEPT_TIMES
            if kept.ends_at <= now or is_full:
                self._count(-len(kept.limiters), -sum(kept.limiters.values()))
                del self._kept[key]


_senders: Final = PerLoop(Senders)

#: Those of the running event loop.
get_senders: Final = _senders.get


def sender_of(connection: Connection) -> Hashable:
    """The user behind a connection, or the address if it is anonymous; None if that is unknown."""
    identity = connection.identity
    if identity.is_authenticated:
        return ("user", identity.user_id)
    address = address_of(connection.scope)
    return address and ("address", address)


def check_penalty(connection: Connection) -> None:
    """Raise ``CloseConnection`` with 4003 if its sender has to wait after a flood."""
    now = connection.connection_timings.clock()
    if (wait := get_senders().penalties.wait(sender_of(connection), now)) > 0:
        raise CloseConnection(CloseCode.RATE_LIMITED, f"after a flood: wait {math.ceil(wait)} s")


def punish(connection: Connection) -> None:
    """Keep new connections of the sender out for a while, after a flood."""
    if (key := sender_of(connection)) is not None:
        is_user = connection.identity.is_authenticated
        max_seconds = MAX_USER_SECONDS if is_user else MAX_ADDRESS_SECONDS
        now = connection.connection_timings.clock()
        get_senders().penalties.add(key, now, max_seconds)
