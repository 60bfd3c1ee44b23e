"""The stream of a group in one process: the position up to which its members have everything.

Everything is decided by one comparison of cursors. Nothing here waits or reads.
"""

import asyncio
import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pm_realtime.backends import Page
from pm_realtime.conf import conf
from pm_realtime.protocol import MessageType, encode, make_envelope
from pm_realtime.streams.messages import Message, with_cursor


class Step(enum.Enum):
    """The treatment of a message that has arrived."""

    DROP = enum.auto()
    DELIVER = enum.auto()
    #: Read what is missing before it.
    FILL = enum.auto()


def next_step(last: str, cursor: str, previous: str) -> Step:
    """The step for the message at ``cursor``, which follows ``previous``, for members that have
    everything up to ``last``."""
    if cursor <= last:
        return Step.DROP
    return Step.DELIVER if previous <= last else Step.FILL


class Label(NamedTuple):
    """The name of a stream for clients: a room, or ``user``, ``role:<name>`` or ``all``."""

    room: str | None
    to: str | None

    def gap(self, group: str, cursor: str) -> Message:
        """The message that something was lost, and that ``group`` goes on after ``cursor``."""
        envelope = make_envelope(MessageType.GAP, {}, room=self.room, to=self.to)
        text = with_cursor(encode(envelope), cursor)
        return Message(group, text, len(text.encode()), cursor=cursor)


@dataclass(slots=True, eq=False)
class GroupStream:
    """The stream of a group that has members in a hub."""

    group: str
    ttl_seconds: float
    label: Label
    #: The position of live members; before the stream has started, less than every cursor.
    last: str = ""
    #: The messages that arrived while something before them was read; None if nothing is read.
    waiting: list[Message] | None = field(default_factory=list)
    _waiting_bytes: int = 0
    #: Whether the stream has more than waits.
    is_behind: bool = False
    #: Whether a message was dropped, as members had it, since the position was last checked.
    has_dropped: bool = False
    #: Held by a delivery, and the connections that became live during the last one.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    entered: set[str] = field(default_factory=set)
    #: Members that have read further than ``last``, with their positions, by connection id.
    ahead: dict[str, tuple[Any, str]] = field(default_factory=dict)
    #: The position of members before the stream went back, until a message has passed it.
    _had: str = ""
    #: The last position after which something that the stream keeps no more was waited for.
    _awaited: str = ""

    def begin_reading(self) -> None:
        """Let what arrives wait: the stream has something that did not arrive."""
        self.waiting, self.is_behind = [], True

    def end_reading(self) -> bool:
        """Whether nothing waits or is missing. Then messages that arrive do not wait any more."""
        if self.waiting or self.is_behind:
            return False
        self.waiting = None
        return True

    def follow_back(self, top: str) -> list[Message]:
        """The stream lost its last messages, which members have, and goes on after ``top``.

        Returns a gap if a newer message may have been taken for one of those.
        """
        had, self.last = max(self._had, self.last), top
        has_dropped, self.has_dropped = self.has_dropped, False
        self._had = "" if has_dropped else had
        return [self.label.gap(self.group, top)] if has_dropped else []

    def accept(self, messages: list[Message]) -> list[Message]:
        """Those of ``messages``, which have just arrived, that are delivered now."""
        if self.waiting is not None:
            return [message for message in messages if not self._keep(message)]
        accepted: list[Message] = []
        for count, message in enumerate(messages):
            step = self._take(message)
            if step is Step.FILL:
                self.waiting = []
                return accepted + self.accept(messages[count:])
            if step is Step.DELIVER:
                accepted += self._with_gap(message)
        return accepted

    def _with_gap(self, message: Message) -> list[Message]:
        """``message``, after a gap if clients would take it for one that they had: the clock of a
        promoted server may be behind."""
        if message.cursor is None or not self._had:
            return [message]
        is_hidden, self._had = message.cursor <= self._had, ""
        return [self.label.gap(self.group, message.previous), message] if is_hidden else [message]

    def _take(self, message: Message) -> Step:
        """Move ``last`` to ``message`` if that is delivered."""
        if message.cursor is None:
            return Step.DELIVER
        step = next_step(self.last, message.cursor, message.previous)
        if step is Step.DELIVER:
            self.last = message.cursor
        self.has_dropped |= step is Step.DROP
        return step

    def _keep(self, message: Message) -> bool:
        """Let ``message`` wait; False if it has no position.

        If too much waits all of it is dropped, and read later: the stream has it.
        """
        if message.cursor is None or self.waiting is None:
            return False
        self._waiting_bytes += message.size
        if self._waiting_bytes > conf.MAX_QUEUE_BYTES:
            self.waiting, self._waiting_bytes, self.is_behind = [], 0, True
        else:
            self.waiting.append(message)
        return True

    def accept_waiting(self) -> list[Message]:
        """Those of the waiting messages that are delivered now: up to the next hole."""
        waiting, self.waiting, self._waiting_bytes = self.waiting or [], None, 0
        accepted = self.accept(sorted(waiting, key=_position))
        if self.waiting is None:
            # More may arrive while these are delivered.
            self.waiting = []
        return accepted

    def may_still_arrive(self, page: Page) -> bool:
        """Whether waiting messages may have overtaken those that ``page`` lacks.

        Once for each hole.
        """
        if not self.waiting or page.is_whole or self._awaited == self.last:
            return False
        self._awaited = self.last
        return True

    def accept_page(self, page: Page, known: int) -> list[Message]:
        """The messages to deliver of ``page``, which was read after ``last``, and of the waiting
        ones, with a gap where something is missing.

        The first ``known`` of the waiting messages had arrived before the page was read.
        """
        end = page.top if page.is_last else page.publications[-1].cursor
        read = [Message.of_stream(self.group, each) for each in page.publications]
        waiting, self.waiting, self._waiting_bytes = self.waiting or [], [], 0
        if not read and page.top <= self.last:
            # The stream has nothing new: it lost those, and what is missing before them.
            end = max([end, *map(_position, waiting[:known])])
        by_cursor = {_position(message): message for message in [*waiting, *read]}
        accepted: list[Message] = []
        for cursor in sorted(by_cursor):
            message = by_cursor[cursor]
            if cursor > end:
                self._keep(message)
                continue
            if (step := self._take(message)) is Step.FILL:
                accepted.append(self.label.gap(self.group, message.previous))
                self.last, self._had = cursor, ""
            if step is not Step.DROP:
                accepted += self._with_gap(message)
        if self.last < end:
            accepted.append(self.label.gap(self.group, end))
            self.last = end
        self.is_behind |= not page.is_last
        return accepted


def _position(message: Message) -> str:
    return message.cursor or ""
