"""The members of rooms at any time, as clients know it: they cannot see when a server found out.

Times are seconds since the epoch. A member is surely there from the answer to its subscription
until it leaves, and within the grace of its room. It is possibly there a little longer, as a server
may find out late. Between the two, both answers are right.
"""

import time
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

#: The longest time in which a server that runs finds out that a wire was cut.
NOTICE_SECONDS = 1.5
#: The longest time until the members of a process that was killed leave.
BURIAL_SECONDS = 16
#: The longest time until a change has reached all clients.
TOLD_SECONDS = 2.0
#: A grace may end this much early.
EARLY_SECONDS = 0.2
FOREVER = float("inf")
#: The state of a member in doubt.
UNKNOWN = object()


@dataclass
class Stay:
    """The time of a page in a room. ``until`` is the latest time at which a server counts it."""

    page: object
    asked_at: float
    entered_at: float
    ended_at: float = FOREVER
    until: float = FOREVER
    is_graceful: bool = True


_ENDLESS = Stay(None, 0, 0)


class Truth:
    """``graces`` are the seconds of each room. Members are ``(room, key)``."""

    def __init__(self, graces):
        self._graces = graces
        self.stays = defaultdict(list)
        #: By member, the last state and its time.
        self._states = {}
        #: Members with a state that was sent, and not acknowledged.
        self._unknown_states = set()

    def enter(self, member, page, asked_at, entered_at):
        """``page`` is in the room. If it was there before, nobody counts its former stay now."""
        for stay in self.stays[member]:
            if stay.page is page and stay.is_graceful:
                stay.until = min(stay.until, entered_at)
        self.stays[member].append(Stay(page, asked_at, entered_at))

    def attempt(self, member, page, asked_at, at, notice_seconds):
        """The wire was cut before ``page`` knew whether it is in the room."""
        self.stays[member].append(Stay(page, asked_at, FOREVER, at, at + notice_seconds))

    def lose(self, member, page, at, until=None):
        """The wire of ``page`` broke after ``at``, and a server finds that out by ``until``."""
        stay = self._open(member, page)
        stay.ended_at, stay.until = at, at + NOTICE_SECONDS if until is None else until

    def leave(self, member, page, asked_at, at):
        """Left at once, between two times."""
        stay = self._open(member, page)
        stay.ended_at, stay.until, stay.is_graceful = asked_at, at, False

    def say(self, member, state, *, is_known):
        """The state of a member was set, or perhaps."""
        self._states[member] = state, time.time()
        if not is_known:
            self._unknown_states.add(member)

    def state_of(self, member):
        """The state of a member that is there; UNKNOWN if several are right."""
        least, most = self.arrivals(member)
        if member in self._unknown_states or least < most:
            return UNKNOWN
        # It goes with the member.
        state, at = self._states.get(member, (None, 0))
        return state if at >= self.sure(member)[-1][0] else None

    def describe(self, member):
        """The stays of a member, as text."""
        return "; ".join(
            f"{getattr(s.page, 'port', s.page)} {s.entered_at:.3f} to {s.ended_at:.3f} "
            f"({s.until:.3f}, {'with grace' if s.is_graceful else 'at once'}, "
            f"closes {getattr(s.page, 'closes', None)})"
            for s in self.stays[member]
        )

    def bury(self, pages, at, since):
        """The process of ``pages`` has died at ``at``, or stands still. The acts of its pages
        ``since`` then may not be known, and are found out late."""
        for stays in self.stays.values():
            for stay in stays:
                if stay.page in pages and since <= stay.ended_at < FOREVER:
                    stay.until = max(stay.until, at + BURIAL_SECONDS)

    def _open(self, member, page):
        [stay] = [s for s in self.stays[member] if s.page is page and s.ended_at == FOREVER]
        return stay

    def open_stays(self, member):
        return [stay for stay in self.stays[member] if stay.ended_at == FOREVER]

    def expected(self, room):
        """The members of ``room`` with the number of their connections, at a quiet moment."""
        counts = {
            key: len(self.open_stays((of, key))) for of, key in list(self.stays) if of == room
        }
        return {key: count for key, count in counts.items() if count}

    def sure(self, member):
        """The times in which the member was surely there, in order, without overlap."""
        grace = max(self._graces[member[0]] - EARLY_SECONDS, 0)
        return _union(
            (s.entered_at, min(s.ended_at + grace, self._cut(member, s.ended_at).ended_at))
            if s.is_graceful
            else (s.entered_at, s.ended_at)
            for s in self.stays[member]
            if s.entered_at < FOREVER
        )

    def possible(self, member):
        """The times in which it was possibly there."""
        return _union((s.asked_at, self._latest(member, s)) for s in self.stays[member])

    def _latest(self, member, stay):
        if not stay.is_graceful:
            return stay.until + TOLD_SECONDS
        latest = stay.until + self._graces[member[0]]
        return min(latest, self._cut(member, stay.until).until) + TOLD_SECONDS

    def _cut(self, member, at):
        """The first stay that ended at once after ``at``: no grace goes on after it."""
        cuts = [s for s in self.stays[member] if not s.is_graceful and s.ended_at >= at]
        return min(cuts, key=lambda stay: stay.ended_at, default=_ENDLESS)

    def quiet_at(self):
        """The time from which on it is known of everybody whether they are there.

        Of the members that have nobody there, all have surely gone. Of the others the number of
        connections is known.
        """
        latest = 0
        for (room, _), stays in self.stays.items():
            for stay in stays:
                if stay.ended_at < FOREVER:
                    grace = self._graces[room] if stay.is_graceful else 0
                    latest = max(latest, stay.until + grace + TOLD_SECONDS)
                latest = max(latest, stay.asked_at + TOLD_SECONDS)
        return latest

    def is_calm(self, member):
        """Whether none of its pages is between being lost and being forgotten."""
        now = time.time()
        return all(
            stay.ended_at == FOREVER or self._latest(member, stay) < now
            for stay in self.stays[member]
        )

    def in_doubt(self, at):
        """The members who may have come or gone about ``at``: a process that died then may have
        known it alone."""
        return {
            member
            for member in list(self.stays)
            for begin, end in self.possible(member)
            if begin - 0.5 <= at <= begin + TOLD_SECONDS
            or any(b >= begin and e <= at + 0.5 and at <= end for b, e in self.sure(member))
        }

    def arrivals(self, member):
        """The least and the greatest number of arrivals that are right."""
        sure, possible = self.sure(member), self.possible(member)
        least = sum(any(_overlaps(each, span) for each in sure) for span in possible)
        greatest = max(len(sure), len(possible))
        return least, greatest

    def flickers(self, room, events):
        """Those of ``events``, of a client in ``room``, that contradict the truth."""
        sure, possible = cache(self.sure), cache(self.possible)
        for event in events:
            since, at, member = event.since - TOLD_SECONDS, event.at, (room, event.key)
            if event.kind == "leave":
                if any(begin <= since and at < end for begin, end in sure(member)):
                    yield event
            elif event.kind in ("join", "visit") and not any(
                begin <= at and end >= since for begin, end in possible(member)
            ):
                yield event


def _union(spans):
    found = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _overlaps(one, other):
    return one[0] < other[1] and other[0] < one[1]


def most_within(moments, seconds):
    """The largest number of the sorted ``moments`` within that many seconds."""
    return max((bisect_right(moments, at + seconds) - i for i, at in enumerate(moments)), default=0)
