"""When the right to a connection is looked at again, for all connections of one event loop.

Each interval all of them, in a few batches spread over it; at the moment a session runs out those
it belongs to; and at once those of whom somebody says that something has changed. What is found is
decided by :mod:`pm_realtime.auth`, in a thread, for many at once.
"""

import asyncio
import heapq
import itertools
import logging
import math
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from pm_realtime.auth import sessions
from pm_realtime.auth.database import run_check
from pm_realtime.auth.identity import Identity, RecheckResult, recheck, recheck_sessions
from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import conf

T = TypeVar("T")

logger = logging.getLogger("pm_realtime.auth")

#: Connections looked at together: where one query is for all of them, and where each is read alone.
MANY: Final = 1000
FEW: Final = 50
#: Connections told what was found of them before other tasks of the loop get a turn.
TURN: Final = 50
#: The part of the interval over which a sweep is spread: each is looked at within an interval.
SPREAD: Final = 0.9
#: Seconds between two tries while the database does not answer, and for which a connection of whom
#: something has changed waits for it.
PAUSE: Final = 0.25
PATIENCE: Final = 5.0
#: Seconds that one batch of a sweep may take.
SLOW: Final = 30.0

Check = Callable[[Sequence[Identity]], list[RecheckResult]]


class Subject(Protocol):
    """What the checker knows of a connection."""

    identity: Identity

    def apply(self, verdict: RecheckResult) -> None:
        """Take note of what was found."""

    def give_up(self) -> None:
        """End where something has changed: nobody can find out what."""


class _Date:
    """When the session of ``subject`` has to be read again (epoch seconds); None where not then."""

    __slots__ = ("at", "subject")

    def __init__(self, at: float, subject: Subject) -> None:
        self.at = at
        self.subject: Subject | None = subject


class Rechecker:
    """Made by :func:`get_rechecker`. All methods belong to the event loop it was made in."""

    def __init__(self) -> None:
        #: Each with its entry in ``_dates``, if it has one there.
        self._subjects: dict[Subject, _Date | None] = {}
        #: Those to be looked at now, and since when (monotonic seconds).
        self._asked: dict[Subject, float] = {}
        self._has_asked = asyncio.Event()
        #: When sessions have to be read again, the next first.
        self._dates: list[tuple[float, int, _Date]] = []
        self._numbers = itertools.count()
        self._has_date = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_failing = False

    def add(self, subject: Subject) -> None:
        """From now on look at a logged-in ``subject`` each interval, and when its session ends."""
        self._subjects[subject] = None
        self._note_date(subject, subject.identity.session)
        if not self._tasks:
            loop = asyncio.get_running_loop()
            steps = (self._sweep(), self._keep_dates(), self._answer())
            self._tasks = [loop.create_task(_outlive(step)) for step in steps]

    def discard(self, subject: Subject) -> None:
        """Look at ``subject`` no more; the last one ends the checker."""
        self._forget_date(subject)
        self._subjects.pop(subject, None)
        self._asked.pop(subject, None)
        if not self._subjects:
            for task in self._tasks:
                task.cancel()
            self._tasks = []
            self._dates = []
            _rechecker_of_loop.drop(self)

    def ask(self, subject: Subject) -> None:
        """Look at ``subject`` now, together with all others who ask now."""
        if subject in self._subjects:
            self._asked.setdefault(subject, time.monotonic())
            self._has_asked.set()

    def note_session(self, subject: Subject) -> None:
        """The session of ``subject`` is another, or lasts until another time."""
        if subject in self._subjects:
            self._note_date(subject, subject.identity.session)

    def _note_date(self, subject: Subject, session: sessions.Session | None) -> None:
        if session is None or math.isinf(session.look_at):
            return
        noted = self._subjects[subject]
        if noted is not None and noted.at == session.look_at:
            return
        self._forget_date(subject)
        if len(self._dates) > 2 * len(self._subjects) + FEW:
            self._dates = [each for each in self._dates if each[2].subject is not None]
            heapq.heapify(self._dates)
        date = self._subjects[subject] = _Date(session.look_at, subject)
        heapq.heappush(self._dates, (date.at, next(self._numbers), date))
        if self._dates[0][2] is date:
            self._has_date.set()

    def _forget_date(self, subject: Subject) -> None:
        """It was put off, or its connection has gone, of which nothing is kept then."""
        if (date := self._subjects.get(subject)) is not None:
            date.subject = self._subjects[subject] = None

    async def _sweep(self) -> None:
        while True:
            size = MANY if sessions.are_read_at_once() else FEW
            known = weakref.WeakSet(self._subjects)
            batches = _batched(_refer(known), size) or [[]]
            for batch in batches:
                await asyncio.sleep(SPREAD * conf.SESSION_RECHECK_INTERVAL / len(batches))
                await self._look_at(self._present(batch), recheck, SLOW)
            # For who has come meanwhile, another round would be too late.
            came = _refer(subject for subject in self._subjects if subject not in known)
            for batch in _batched(came, size):
                await self._look_at(self._present(batch), recheck, SLOW)

    def _present(self, batch: Sequence[weakref.ref[Subject]]) -> list[Subject]:
        found = [each() for each in batch]
        return [each for each in found if each is not None and each in self._subjects]

    async def _answer(self) -> None:
        while True:
            await self._has_asked.wait()
            self._has_asked.clear()
            await self._answer_asked()
            if self._asked:
                await asyncio.sleep(PAUSE if self._is_failing else 0)

    async def _answer_asked(self) -> None:
        asked, self._asked = self._asked, {}
        for batch in _batched(list(asked), MANY):
            present = [subject for subject in batch if subject in self._subjects]
            if not await self._look_at(present, recheck, PATIENCE):
                self._ask_again({subject: asked[subject] for subject in present})

    def _ask_again(self, asked: dict[Subject, float]) -> None:
        now = time.monotonic()
        for subject, since in asked.items():
            if now - since > PATIENCE:
                subject.give_up()
            elif subject in self._subjects:
                self._asked[subject] = since
                self._has_asked.set()

    async def _keep_dates(self) -> None:
        while True:
            self._has_date.clear()
            seconds = self._dates[0][0] - time.time() if self._dates else None
            if seconds is None or seconds > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._has_date.wait()
            else:
                await self._look_at_due()

    async def _look_at_due(self) -> None:
        for batch in _batched(self._take_due(), MANY):
            if not await self._look_at(batch, recheck_sessions, PATIENCE):
                await asyncio.sleep(PAUSE)
                for subject in batch:
                    self.note_session(subject)

    def _take_due(self) -> list[Subject]:
        """Whose session may have run out by now; dates that have been put off are passed over."""
        now = time.time()
        due: dict[Subject, None] = {}
        while self._dates and self._dates[0][0] <= now:
            subject = heapq.heappop(self._dates)[2].subject
            if subject is not None:
                self._subjects[subject] = None
                due[subject] = None
        return list(due)

    async def _look_at(self, subjects: list[Subject], check: Check, seconds: float) -> bool:
        """Read anew who ``subjects`` are and tell them; False where that fails or takes too long.

        Who has become another meanwhile is not told: that verdict is about somebody else.
        """
        if not subjects:
            return True
        identities = [subject.identity for subject in subjects]
        try:
            async with asyncio.timeout(seconds):
                verdicts = await run_check(check, identities)
        except Exception as error:
            self._fail(error)
            return False
        self._is_failing = False
        found = zip(subjects, identities, verdicts, strict=True)
        for count, (subject, identity, verdict) in enumerate(found, 1):
            if subject in self._subjects:
                self._tell(subject, identity, verdict)
            if count % TURN == 0:
                await asyncio.sleep(0)
        return True

    def _tell(self, subject: Subject, identity: Identity, verdict: RecheckResult) -> None:
        if subject.identity is not identity:
            self.ask(subject)
            return
        try:
            subject.apply(verdict)
        except Exception:
            logger.exception("A connection could not be told what was found of it.")
        if verdict.identity is not None and verdict.identity.session is not identity.session:
            self._note_date(subject, verdict.identity.session)

    def _fail(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            logger.error("Open connections could not be re-checked.", exc_info=error)


async def _outlive(step: Coroutine[Any, Any, None]) -> None:
    try:
        await step
    except Exception:
        logger.exception("Open connections are not re-checked any more.")


def _refer(subjects: Iterable[Subject]) -> list[weakref.ref[Subject]]:
    """Who goes is not kept alive, with all that waits for it, by standing on a list."""
    return [weakref.ref(subject) for subject in subjects]


def _batched(subjects: list[T], size: int) -> list[list[T]]:
    return [subjects[start : start + size] for start in range(0, len(subjects), size)]


_rechecker_of_loop: Final = PerLoop(Rechecker)


def get_rechecker() -> Rechecker:
    """The checker of the running event loop."""
    return _rechecker_of_loop.get()
