"""Whether each member of a room got each message, once and in order; no I/O.

All members get frames of the same bytes, perhaps cut differently. So a frame is parsed once and
remembered as the numbers it carries, and what is left for each member is to compare two numbers.
"""

from array import array
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple, Protocol

from benchmarks.systems.base import NUMBER_DIGITS, Dialect

#: Frames remembered at a time.
MEMORY = 20_000


def make_body(number: int, size: int) -> str:
    """The body of message ``number``: its digits, and padding up to ``size`` characters."""
    return f"{number:0{NUMBER_DIGITS}d}".ljust(size, "x")


class Span(NamedTuple):
    """Messages ``first`` to ``after - 1``, which one frame carries; else the odd ``numbers``."""

    first: int
    after: int
    numbers: tuple[int, ...] | None = None


#: A frame without a message.
NOTHING = Span(-1, -1, ())


class Member(Protocol):
    """Who receives; ``place`` is the number of the message that is due next."""

    place: int


class Tally:
    """Follows the messages of one room through its members.

    ``on_done(tally, count)`` is called when the slowest member has got ``count`` more messages.
    Members do the common case themselves (:meth:`move`, inlined where it is hot): look a frame up
    in ``spans``, else :meth:`read` it; where it begins at the member's place, move on to its end.
    """

    def __init__(self, dialect: Dialect, room: str = "") -> None:
        self.dialect, self.room = dialect, room
        self.spans: dict[bytes, Span] = {}
        #: How many members stand at a place.
        self.at: dict[int, int] = {}
        #: The place of the slowest member, and the number of the next message to publish.
        self.oldest = self.next = 0
        self.size = NUMBER_DIGITS
        self.sent_at: dict[int, float] = {}
        #: Seconds from publishing to the last member, a message each; to each member, where asked.
        self.to_last = array("d")
        self.to_each: array[float] | None = None
        self.lost = self.disordered = self.damaged = 0
        self.on_done: Callable[[Tally, int], object] = lambda tally, count: None

    def add(self, member: Member) -> None:
        member.place = self.next
        if not self.at:
            self.oldest = self.next
        self.at[member.place] = self.at.get(member.place, 0) + 1

    def publish(self) -> str:
        """The body of the next message, whose time starts now."""
        number, self.next = self.next, self.next + 1
        self.sent_at[number] = perf_counter()
        return make_body(number, self.size)

    def read(self, frame: bytes) -> Span:
        """What ``frame`` carries, and remember it."""
        span = self._parse(frame)
        if len(self.spans) >= MEMORY:
            self.spans.clear()
        self.spans[frame] = span
        return span

    def _parse(self, frame: bytes) -> Span:
        numbers = []
        for body in self.dialect.bodies(frame):
            digits = body[:NUMBER_DIGITS]
            number = int(digits) if digits.isdigit() else -1
            if body != make_body(number, self.size):
                # Of an earlier size, it comes too late; else it is not what was published.
                self.damaged += body.rstrip("x") != digits
            numbers.append(number)
        if not numbers:
            return NOTHING
        first, after = numbers[0], numbers[-1] + 1
        if numbers == list(range(first, after)):
            return Span(first, after)
        return Span(-1, -1, tuple(numbers))

    def move(self, member: Member, span: Span) -> None:
        """``member`` got a frame: the exact way, whatever it is."""
        numbers = range(span.first, span.after) if span.numbers is None else span.numbers
        place = member.place
        for number in numbers:
            if number < place or number >= self.next:
                self.disordered += 1
            else:
                self.lost += number - place
                place = number + 1
        self._step(member, place)

    def _step(self, member: Member, place: int) -> None:
        before = member.place
        if place == before:
            return
        member.place = place
        self.at[place] = self.at.get(place, 0) + 1
        self.at[before] -= 1
        if before == self.oldest and not self.at[before]:
            self.advance()

    def advance(self) -> None:
        """The last member has left ``oldest``: some messages are done."""
        now, before, at = perf_counter(), self.oldest, self.at
        while self.oldest < self.next and not at.get(self.oldest):
            at.pop(self.oldest, None)
            self.to_last.append(now - self.sent_at.pop(self.oldest))
            self.oldest += 1
        if self.oldest > before:
            self.on_done(self, self.oldest - before)

    def give_up(self, members: list[Member]) -> int:
        """What has not come yet counts as lost; how many deliveries that is."""
        missing = sum(self.next - member.place for member in members)
        self.lost += missing
        for member in members:
            member.place = self.next
        self.sent_at.clear()
        self.at = {self.next: len(members)}
        done, self.oldest = self.next - self.oldest, self.next
        if done:
            self.on_done(self, done)
        return missing
