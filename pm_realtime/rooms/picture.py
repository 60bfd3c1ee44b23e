"""The members of a room as its viewers in one event loop were told, and when that is renewed.

Nothing here waits or asks for the time.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from pm_realtime.backends import TELL_INTERVAL_SECONDS, Mark, PresentMember, Reading
from pm_realtime.protocol import to_json
from pm_realtime.texts import size_of

#: After a change was told, later ones that were not told are in the store by then.
READ_AGAIN_SECONDS: Final = TELL_INTERVAL_SECONDS + 0.01
#: Between two messages to one viewer, so that there are at most 4 a second.
EMISSION_INTERVAL_SECONDS: Final = 0.28
#: The JSON texts of all members that are told. daphne sends no message of more than 1 MiB, and
#: ``MAX_QUEUE_BYTES`` is 1 MiB by default.
MAX_PICTURE_BYTES: Final = 1_000_000


class Emission(NamedTuple):
    """The payloads for the viewers that see the members, and for those that see their number.

    None: nothing has changed for them.
    """

    seeing: dict[str, Any] | None = None
    counting: dict[str, Any] | None = None


class _Changes(NamedTuple):
    """JSON texts of members, and the keys of those that are gone."""

    joined: Sequence[str] = ()
    updated: Sequence[str] = ()
    left: Sequence[str] = ()

    def as_fields(self) -> dict[str, Any]:
        return {
            "joined": orjson.Fragment(f"[{','.join(self.joined)}]"),
            "updated": orjson.Fragment(f"[{','.join(self.updated)}]"),
            "left": list(self.left),
        }


class Picture:
    """The members of ``room`` as they were read, and as its viewers were told: none of them if
    there are more than ``max_members``, or than fit into a message.

    A viewer that begins gets the members as they were read, under the ``rev`` that the others were
    told. As all values are absolute, the next message to them fits for it too.
    """

    def __init__(self, room: str, max_members: int) -> None:
        self.room: Final = room
        self.max_members: Final = max_members
        #: None before the first reading.
        self.mark: Mark | None = None
        #: JSON texts by key, in the order of arrival.
        self._members: dict[str, str] = {}
        self._bytes = 0
        self._total = self._told_total = 0
        #: Whether there are more than were read, and whether more than are told.
        self._is_unread = self._is_crowded = False
        #: The texts that were told of members that have changed since; None of those that joined.
        self._told: dict[str, str | None] = {}
        #: Those of them that some viewers know as they were in between.
        self._exposed: set[str] = set()
        self._is_total_exposed = False
        #: Whether the next message has all members, or says that they are not told any more.
        self._must_be_whole = False
        #: The JSON text of all members; None if it is to be made anew.
        self._all: str | None = None
        #: The ``rev`` that was told last: to those that see members, and to the others.
        self._rev = self._counting_rev = 0
        #: The latest ``rev`` that any viewer knows.
        self._latest_rev = 0

    @property
    def since(self) -> Mark | None:
        """The mark from which to read on; None if all members have to be read."""
        return None if self._is_unread else self.mark

    @property
    def has_news(self) -> bool:
        """Whether something may have to be told."""
        return bool(self._told) or self._must_be_whole or self._is_recounted

    @property
    def _is_recounted(self) -> bool:
        """Whether some viewers do not know the present number of members."""
        return self._total != self._told_total or self._is_total_exposed

    def begin(self, reading: Reading) -> None:
        """Adopt ``reading`` while there is no viewer to be told."""
        self.adopt(reading)
        self._forget_told()
        self._latest_rev = max(self._latest_rev, reading.mark.rev)
        self._rev = self._counting_rev = self._latest_rev

    def adopt(self, reading: Reading) -> None:
        """Keep ``reading``, of which viewers are told later."""
        self.mark, self._total = reading.mark, reading.total
        self._is_unread = reading.members is None
        if reading.members is None:
            self._members.clear()
            self._bytes, self._all = 0, None
        else:
            self._adopt_members(reading.members, reading.left, is_whole=reading.is_whole)
        was_crowded = self._is_crowded
        self._is_crowded = self._is_unread or self._bytes > MAX_PICTURE_BYTES
        if self._is_crowded is not was_crowded:
            self._must_be_whole = True

    def _adopt_members(
        self, members: Sequence[PresentMember], left: Iterable[str], *, is_whole: bool
    ) -> None:
        if is_whole:
            left = self._members.keys() - {each.profile.key for each in members}
        for key in left:
            self._change(key, None)
        for member in sorted(members, key=_order):
            self._change(member.profile.key, _text_of(member))

    def _change(self, key: str, text: str | None) -> None:
        before = self._members.get(key)
        if text == before:
            return
        self._told.setdefault(key, before)
        self._all = None
        if before is not None:
            self._bytes -= size_of(before)
        if text is None:
            del self._members[key]
        else:
            self._members[key] = text
            self._bytes += size_of(text)

    def emit(self) -> Emission:
        """Take the news for the viewers, which they are now told."""
        is_recounted = self._is_recounted
        is_whole = self._must_be_whole and not self._is_crowded
        changes = _Changes() if is_whole or self._is_crowded else self._find_changes()
        is_seen = self._must_be_whole or any(changes) or (self._is_crowded and is_recounted)
        self._forget_told()
        if not (is_seen or is_recounted):
            return Emission()
        rev = self._latest_rev = max(self.mark.rev if self.mark else 0, self._latest_rev + 1)
        seeing = counting = None
        if is_recounted:
            counting = self._payload(rev, self._counting_rev)
            self._counting_rev = rev
        if is_seen:
            seeing = self._payload(rev, self._rev)
            self._rev = rev
            if is_whole:
                seeing["members"] = orjson.Fragment(self._all_members())
            elif not self._is_crowded:
                seeing |= changes.as_fields()
        return Emission(seeing, counting)

    def _payload(self, rev: int, prev: int) -> dict[str, Any]:
        return {"room": self.room, "rev": rev, "prev": prev, "total": self._total}

    def _find_changes(self) -> _Changes:
        joined: list[str] = []
        updated: list[str] = []
        left: list[str] = []
        for key, told in self._told.items():
            text = self._members.get(key)
            if text == told and key not in self._exposed:
                continue
            if text is None:
                left.append(key)
            else:
                (joined if told is None else updated).append(text)
        return _Changes(joined, updated, left)

    def _forget_told(self) -> None:
        """Note that the viewers know all that was read."""
        self._told.clear()
        self._exposed.clear()
        self._told_total = self._total
        self._is_total_exposed = self._must_be_whole = False

    def describe(self, *, may_see: bool, own: PresentMember | None) -> dict[str, Any]:
        """The payload for a viewer that begins now, to which all further emissions are added.

        ``own`` is its own member, which may not have been read yet.
        """
        key = None if own is None else own.profile.key
        if key is None or self._is_crowded or key in self._members:
            own = None
        else:
            self._told.setdefault(key, None)
        total = self._total + (own is not None)
        if total != self._told_total and (self._is_crowded or not may_see):
            self._is_total_exposed = True
        rev = self._rev if may_see else self._counting_rev
        payload: dict[str, Any] = {"rev": rev, "total": total}
        if may_see and not self._is_crowded:
            if total > self.max_members:
                # If there are fewer members by the next message, it has to have them all.
                self._must_be_whole = True
            else:
                payload["members"] = orjson.Fragment(self._all_members(own))
            self._exposed.update(self._told)
        if key is not None:
            payload["me"] = key
        return payload

    def describe_change(
        self, *, did_see: bool, may_see: bool, own: PresentMember | None
    ) -> dict[str, Any]:
        """The payload for a viewer that sees members from now on, or does not see them any more, or
        has become another member: ``me``, which is None for none."""
        payload = {"me": None, **self.describe(may_see=may_see, own=own)}
        # Later than all that it knows, and earlier than all further emissions.
        self._latest_rev += 1
        prev = self._rev if did_see else self._counting_rev
        return {**payload, **self._payload(self._latest_rev, prev), "total": payload["total"]}

    def _all_members(self, own: PresentMember | None = None) -> str:
        """The JSON text of all members, and of ``own``, which is none of them yet."""
        if self._all is None:
            self._all = f"[{','.join(self._members.values())}]"
        if own is None:
            return self._all
        return f"{self._all[:-1]}{',' if self._members else ''}{_text_of(own)}]"


def _order(member: PresentMember) -> tuple[int, str]:
    return member.since_ms, member.profile.key


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
