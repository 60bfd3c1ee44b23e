"""The members of a room as its viewers in one event loop were told, and when that is renewed.

Nothing here waits or asks for the time.
"""

import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import orjson

from pm_realtime.backends import TELL_INTERVAL_SECONDS, Mark, PresentMember
from pm_realtime.backends import Picture as Reading
from pm_realtime.protocol import to_json

#: After a change was told, later ones that were not told are in the store by then.
READ_AGAIN_SECONDS: Final = TELL_INTERVAL_SECONDS + 0.01
#: Between two messages to one viewer, so that there are at most 4 a second.
EMISSION_INTERVAL_SECONDS: Final = 0.28


class Emission(NamedTuple):
    """The payloads for the viewers that see the members, and for those that see their number.

    None: nothing has changed for them.
    """

    seeing: dict[str, Any] | None = None
    counting: dict[str, Any] | None = None


class Picture:
    """What the viewers of ``room`` know, if they see members: none of them if there are more than
    ``max_members``."""

    def __init__(self, room: str, max_members: int) -> None:
        self.room: Final = room
        self.max_members: Final = max_members
        #: None before the first reading.
        self.mark: Mark | None = None
        self._total = 0
        #: JSON texts by key, in the order of arrival.
        self._members: dict[str, str] = {}
        self._is_crowded = False
        self._must_be_whole = False
        self._all: orjson.Fragment | None = None
        #: The ``rev`` that was told last: to those that see members, and to the others.
        self._rev = self._counting_rev = 0
        #: The latest ``rev`` that any viewer knows.
        self._latest_rev = 0

    @property
    def since(self) -> Mark | None:
        """The mark from which to read on; None if all members have to be read."""
        return None if self._is_crowded else self.mark

    def begin(self, reading: Reading) -> None:
        """Follow ``reading`` while there is no viewer to be told."""
        self.follow(reading)
        self._latest_rev = max(self._latest_rev, reading.mark.rev)
        self._rev = self._counting_rev = self._latest_rev

    def follow(self, reading: Reading) -> Emission:
        """Adopt ``reading``, which viewers are now told. Returns what is new for them."""
        was_crowded, is_recounted = self._is_crowded, reading.total != self._total
        self.mark, self._total = reading.mark, reading.total
        self._is_crowded = reading.members is None
        changes = self._adopt(reading)
        must_be_whole = not self._is_crowded and (was_crowded or self._must_be_whole)
        is_news = is_recounted or must_be_whole or was_crowded is not self._is_crowded
        if not is_news and not any(changes.values()):
            return Emission()
        self._must_be_whole = False
        rev = self._latest_rev = max(reading.mark.rev, self._latest_rev + 1)
        seeing = {"room": self.room, "rev": rev, "prev": self._rev, "total": self._total}
        counting = {**seeing, "prev": self._counting_rev}
        if must_be_whole:
            seeing["members"] = self._all_members()
        elif not self._is_crowded:
            seeing |= changes
        self._rev = rev
        if not is_recounted:
            return Emission(seeing)
        self._counting_rev = rev
        return Emission(seeing, counting)

    def _adopt(self, reading: Reading) -> dict[str, Any]:
        """Adopt the members of ``reading``. Returns the fields that tell of the changes."""
        before, found = self._members, reading.members or ()
        if self._is_crowded:
            before.clear()
            self._all = None
            return {}
        left: Iterable[str] = reading.left
        if reading.is_whole:
            left = before.keys() - {each.profile.key for each in found}
        gone = [key for key in left if before.pop(key, None) is not None]
        joined: list[str] = []
        updated: list[str] = []
        for member in sorted(found, key=_order):
            key, text = member.profile.key, _text_of(member)
            if (known := before.get(key)) != text:
                (joined if known is None else updated).append(text)
                before[key] = text
        if gone or joined or updated:
            self._all = None
        return {
            "joined": _array(joined) if joined else [],
            "updated": _array(updated) if updated else [],
            "left": gone,
        }

    def describe(self, *, may_see: bool, own: PresentMember | None) -> dict[str, Any]:
        """The payload for a viewer that begins now, to which all further emissions are added.

        ``own`` is its own member, which may not have been read yet.
        """
        key = None if own is None else own.profile.key
        is_new = own is not None and not self._is_crowded and key not in self._members
        total = self._total + is_new
        payload: dict[str, Any] = {
            "rev": self._rev if may_see else self._counting_rev,
            "total": total,
        }
        if may_see and not self._is_crowded:
            if total > self.max_members:
                # If there are fewer members by the next emission, it has to have them all.
                self._must_be_whole = True
            elif own is not None and is_new:
                payload["members"] = _array((*self._members.values(), _text_of(own)))
            else:
                payload["members"] = self._all_members()
        if key is not None:
            payload["me"] = key
        return payload

    def describe_change(self, *, may_see: bool, own: PresentMember | None) -> dict[str, Any]:
        """The payload for a viewer that sees members from now on, or does not see them any more, or
        has become another member: ``me``, which is None for none."""
        payload = {"me": None, **self.describe(may_see=may_see, own=own)}
        # Later than all that it knows, and earlier than all further emissions.
        self._latest_rev += 1
        prev = min(self._rev, self._counting_rev)
        return {"room": self.room, **payload, "rev": self._latest_rev, "prev": prev}

    def _all_members(self) -> orjson.Fragment:
        if self._all is None:
            self._all = _array(self._members.values())
        return self._all


def _order(member: PresentMember) -> tuple[int, str]:
    return member.since_ms, member.profile.key


def _array(texts: Iterable[str]) -> orjson.Fragment:
    return orjson.Fragment(f"[{','.join(texts)}]")


def _text_of(member: PresentMember) -> str:
    """The JSON text of ``member``, made of those that are there already."""
    key = to_json(member.profile.key).decode()
    state = "" if member.state is None else f',"state":{member.state}'
    numbers = f'"since":{member.since_ms},"connections":{member.connections}'
    return f'{{"key":{key},{member.profile.text[1:-1]},{numbers}{state}}}'


class Pace:
    """When the picture of a room is read: at once after a change, but never too often.

    Times are in seconds of one clock. The intervals are as :data:`READ_AGAIN_SECONDS` and
    :data:`EMISSION_INTERVAL_SECONDS`.
    """

    __slots__ = ("_again", "_earliest", "_first", "_interval", "_last")

    def __init__(
        self,
        again_seconds: float = READ_AGAIN_SECONDS,
        interval_seconds: float = EMISSION_INTERVAL_SECONDS,
    ) -> None:
        self._again, self._interval = again_seconds, interval_seconds
        #: The earliest and the latest time for which a reading is wanted; infinite for none.
        self._first, self._last = math.inf, -math.inf
        self._earliest = -math.inf

    @property
    def next_at(self) -> float | None:
        """The time of the next reading; None if none is wanted."""
        return None if self._first == math.inf else max(self._first, self._earliest)

    def note_begin(self, now: float) -> None:
        """The room is followed from now on. Changes may have been told just before."""
        self._first = min(self._first, now + self._again)
        self._last = max(self._last, now + self._again)

    def note_change(self, now: float) -> None:
        """A change was told: read now, and once more."""
        self._first = min(self._first, now)
        self._last = max(self._last, now + self._again)

    def begin_reading(self, now: float) -> None:
        """A reading begins, which sees everything up to ``now``."""
        if now < self._last:
            self._first = self._last
        else:
            self._first, self._last = math.inf, -math.inf

    def note_emission(self, now: float) -> None:
        """Viewers have got a message."""
        self._earliest = now + self._interval
