"""The stream of control messages: each hub carries out all of them, once and in order.

A hub that missed some reads them. Only if some are not kept any more, all connections recheck.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import msgspec

from pm_realtime.backends import Position, get_streams
from pm_realtime.concurrency import Coalescer
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import Control, ControlMessage, Recheck, Refresh, control_group
from pm_realtime.push import CONTROL_STREAM_TTL_SECONDS
from pm_realtime.streams.group_streams import Step, next_step
from pm_realtime.streams.members import Member, Registry, hand_control


class _Page(NamedTuple):
    """The control messages that follow a position, as many as a page holds.

    ``end`` is the position of the last one, or that of the stream if ``is_last``.
    """

    controls: Sequence[Control]
    end: str
    is_whole: bool
    is_last: bool


class ControlStream:
    """Belongs to one hub, which is in the group of control messages."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        #: The cursor up to which all messages were carried out; empty if there are no streams.
        self.cursor = ""
        #: The number of messages without a cursor, from version 0.1 or where nothing is kept.
        self._plain_count = 0
        self._lock: Final = asyncio.Lock()
        self._catch_ups: Final = Coalescer(self._catch_up_for_all)
        #: The messages that arrive for members that read missed ones just now, by connection id.
        self._kept: dict[str, list[ControlMessage]] = {}

    @property
    def position(self) -> str:
        """A text that changes with each message, for :meth:`hand_missed`."""
        return f"{self.cursor} {self._plain_count}"

    async def start(self) -> None:
        """Begin at the present. Raises ``BackendError``."""
        if get_streams().keeps_messages:
            (top,) = await get_streams().get_tops([control_group()])
            self.cursor = max(self.cursor, top)

    async def receive(self, control: Control) -> None:
        """Carry out a message that has arrived, after those before it that have not."""
        if control.cursor is None:
            self._plain_count += 1
            self._hand_on(control)
            return
        async with self._lock:
            if self._next_step(control) is Step.FILL:
                try:
                    await self._read_missed()
                except BackendError:
                    self.recheck_all()
            if self._next_step(control) is not Step.DROP:
                self.cursor = control.cursor
                self._hand_on(control)

    def _next_step(self, control: Control) -> Step:
        if not self.cursor:
            return Step.DELIVER
        return next_step(self.cursor, control.cursor or "", control.previous or "")

    async def catch_up(self) -> None:
        """Carry out what was missed until now; for many at once. Raises ``BackendError``."""
        if self.cursor:
            await self._catch_ups.ask(None)

    async def _catch_up_for_all(self, requests: Sequence[None]) -> Sequence[None]:
        async with self._lock:
            await self._read_missed()
        return requests

    async def _read_missed(self) -> None:
        is_last = False
        while not is_last:
            page = await _read(self.cursor)
            # A stream that lost its last messages may have had later ones, which were dropped here.
            if not page.is_whole or page.end < self.cursor:
                self.recheck_all()
            for control in page.controls:
                self._hand_on(control)
            self.cursor, is_last = page.end, page.is_last

    def _hand_on(self, control: Control) -> None:
        entry = self._registry.groups.get(control.target)
        if entry is not None:
            for member in [*entry.members.values(), *entry.joining.values()]:
                self._hand_to(member, control.message)

    def _hand_to(self, member: Member, message: ControlMessage) -> None:
        if (kept := self._kept.get(member.connection_id)) is not None:
            kept.append(message)
        else:
            hand_control(member, message)

    def recheck_all(self) -> None:
        for member in self._registry:
            self._hand_to(member, Recheck())

    async def hand_missed(self, member: Member, since: str, groups: Collection[str]) -> None:
        """Hand ``member`` the messages for ``groups``, in which it is by now, after the position
        ``since``.

        Those that arrive meanwhile follow them. A refresh stands for messages that are not known.
        """
        if since == self.position:
            return
        cursor, _, plain_count = since.partition(" ")
        kept = self._kept[member.connection_id] = []
        try:
            missed = await _find(cursor, self.cursor, groups)
        finally:
            del self._kept[member.connection_id]
        unknown = [Refresh()] if plain_count != str(self._plain_count) else []
        for message in [*unknown, *missed, *kept]:
            hand_control(member, message)

    async def find_recent(self, seconds: float) -> list[ControlMessage]:
        """The messages of the last ``seconds``, for any target."""
        since = Position(int((time.time() - seconds) * 1000), 0)
        return await _find(str(since), self.cursor)


async def _read(after: str) -> _Page:
    """The control messages after the cursor ``after``. Raises ``BackendError``."""
    page = await get_streams().read(control_group(), after, CONTROL_STREAM_TTL_SECONDS)
    controls = []
    for publication in page.publications:
        try:
            control = Control.read(publication.text)
        except (LookupError, TypeError):
            continue  # Of a later version of this package.
        controls.append(msgspec.structs.replace(control, cursor=publication.cursor))
    end = page.top if page.is_last else page.publications[-1].cursor
    return _Page(controls, end, page.is_whole, page.is_last)


async def _find(
    since: str, until: str, targets: Collection[str] | None = None
) -> list[ControlMessage]:
    """The control messages after ``since``, up to ``until``, for ``targets`` or for all.

    A refresh stands for those that are not known.
    """
    found: list[ControlMessage] = []
    while since < until:
        try:
            page = await _read(since)
        except BackendError:
            return [*found, Refresh()]
        if not page.is_whole:
            found.append(Refresh())
        for control in page.controls:
            is_early = (control.cursor or "") <= until
            if is_early and (targets is None or control.target in targets):
                found.append(control.message)
        since = until if page.is_last else page.end
    return found
