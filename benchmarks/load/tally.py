"""Checks that each member of a room gets each message, once and in order. No I/O.

All members get frames of the same bytes, perhaps cut differently. So a frame is parsed once, and
its message numbers are remembered. For each member only two numbers are left to compare.
"""

from array import array
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple, Protocol

from benchmarks.systems.base import NUMBER_DIGITS, Dialect

FRAMES_REMEMBERED = 20_000


def make_body(number: int, size: int) -> str:
    """The body of message ``number``: its digits, padded to ``size`` characters."""
    return f"{number:0{NUMBER_DIGITS}d}".ljust(size, "x")


class Span(NamedTuple):
    """The messages of one frame: ``first`` to ``after - 1``, or ``numbers`` if out of order."""

    first: int
    after: int
    numbers: tuple[int, ...] | None = None


#: A frame without a message.
NOTHING = Span(-1, -1, ())


class Member(Protocol):
    """A receiver; ``position`` is the number of the message that is due next."""

    position: int
    tally: "Tally"


class Tally:
    """Follows the messages of one room through its members.

    ``on_done(tally, count)`` is called when the slowest member has got ``count`` more messages.
    Members handle the common case themselves, with :meth:`move` inlined. They look a frame up in
    ``spans``, or :meth:`read` it. If it begins at the member's position, they move to its end.
    """

    def __init__(self, dialect: Dialect, room: str = "") -> None:
        self.dialect, self.room = dialect, room
        self.spans: dict[bytes, Span] = {}
        #: The number of members at each position.
        self.at: dict[int, int] = {}
        #: The position of the slowest member, and the number of the next message to publish.
        self.oldest = self.next = 0
        self.size = NUMBER_DIGITS
        self.sent_at: dict[int, float] = {}
        #: Seconds from publishing to the last member, for each message; to each member, if wanted.
        self.to_last = array("d")
        self.to_each: array[float] | None = None
        self.lost = self.disordered = self.damaged = 0
        self.on_done: Callable[[Tally, int], object] = lambda tally, count: None

    def add(self, member: Member) -> None:
        member.position = self.next
        if not self.at:
            self.oldest = self.next
        self.at[member.position] = self.at.get(member.position, 0) + 1

    def rewound(self, members: Sequence[Member], count: int) -> "Tally":
        """A tally of the last ``count`` messages, of which no member has one yet."""
        tally = Tally(self.dialect, self.room)
        tally.size, tally.next, tally.oldest = self.size, self.next, self.next - count
        tally.sent_at = dict.fromkeys(range(tally.oldest, tally.next), perf_counter())
        tally.at = {tally.oldest: len(members)}
        for member in members:
            member.tally, member.position = tally, tally.oldest
        return tally

    def publish(self) -> str:
        """The body of the next message. Its time starts now."""
        number, self.next = self.next, self.next + 1
        self.sent_at[number] = perf_counter()
        return make_body(number, self.size)

    def read(self, frame: bytes) -> Span:
        """Parse ``frame``, and remember the result."""
        span = self._parse(frame)
        if len(self.spans) >= FRAMES_REMEMBERED:
            self.spans.clear()
        self.spans[frame] = span
        return span

    def _parse(self, frame: bytes) -> Span:
        numbers = []
        for body in self.dialect.bodies(frame):
            digits = body[:NUMBER_DIGITS]
            number = int(digits) if digits.isdigit() else -1
            if body != make_body(number, self.size):
                # A body of an earlier size is late, not damaged.
                self.damaged += body.rstrip("x") != digits
            numbers.append(number)
        if not numbers:
            return NOTHING
        first, after = numbers[0], numbers[-1] + 1
        if numbers == list(range(first, after)):
            return Span(first, after)
        return Span(-1, -1, tuple(numbers))

    def move(self, member: Member, span: Span) -> None:
        """``member`` got a frame: count its faults and move the member."""
        numbers = range(span.first, span.after) if span.numbers is None else span.numbers
        position = member.position
        for number in numbers:
            if number < position or number >= self.next:
                self.disordered += 1
            else:
                self.lost += number - position
                position = number + 1
        self._step(member, position)

    def _step(self, member: Member, position: int) -> None:
        before = member.position
        if position == before:
            return
        member.position = position
        self.at[position] = self.at.get(position, 0) + 1
        self.at[before] -= 1
        if before == self.oldest and not self.at[before]:
            self.advance()

    def advance(self) -> None:
        """The last member has left ``oldest``, so some messages are done."""
        now, before, at = perf_counter(), self.oldest, self.at
        while self.oldest < self.next and not at.get(self.oldest):
            at.pop(self.oldest, None)
            self.to_last.append(now - self.sent_at.pop(self.oldest))
            self.oldest += 1
        if self.oldest > before:
            self.on_done(self, self.oldest - before)

    def give_up(self, members: list[Member]) -> int:
        """Count missing messages as lost. Returns the number of missing deliveries."""
        missing = sum(self.next - member.position for member in members)
        self.lost += missing
        for member in members:
            member.position = self.next
        self.sent_at.clear()
        self.at = {self.next: len(members)}
        done, self.oldest = self.next - self.oldest, self.next
        if done:
            self.on_done(self, done)
        return missing
