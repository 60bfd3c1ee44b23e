"""The schedule of rechecks for the connections of one event loop.

In each ``SESSION_RECHECK_INTERVAL`` a sweep rechecks all connections, in batches that are spread
over the interval. A connection is also rechecked when its session may have expired, and at once
when something has changed. :mod:`pm_realtime.auth.recheck` decides, in a thread, for many at once.
"""

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from pm_realtime.auth import sessions
from pm_realtime.auth.database import run_recheck
from pm_realtime.auth.identity import Identity
from pm_realtime.auth.recheck import RecheckResult, recheck_identities, recheck_sessions
from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import conf

logger = logging.getLogger("pm_realtime.auth")

#: Connections that are rechecked together if one query reads the sessions of all.
SUBJECTS_PER_BATCH: Final = 1000
#: The same if each session is read alone.
SUBJECTS_PER_SLOW_BATCH: Final = 50
#: Connections that get their results before other tasks of the loop have a turn.
SUBJECTS_PER_TURN: Final = 50
#: The part of the interval over which a sweep is spread.
SWEEP_SPREAD: Final = 0.9
#: The longest time for one batch of a sweep.
SWEEP_BATCH_SECONDS: Final = 30.0

Recheck = Callable[[Sequence[Identity]], list[RecheckResult]]


class Subject(Protocol):
    """The part of a connection that the rechecker uses."""

    @property
    def identity(self) -> Identity: ...
    def apply(self, result: RecheckResult) -> None: ...
    # No recheck succeeded in time after it was requested.
    def recheck_failed(self) -> None: ...


class Rechecker:
    """Belongs to the event loop in which it was made; see :func:`get_rechecker`.

    A request fails after ``request_seconds``, which also limit each of its attempts. Attempts that
    fail are repeated after ``retry_pause_seconds``.
    """

    def __init__(
        self,
        *,
        recheck: Recheck = recheck_identities,
        recheck_sessions: Recheck = recheck_sessions,
        request_seconds: float = 5.0,
        retry_pause_seconds: float = 0.25,
    ) -> None:
        self._recheck: Final = recheck
        self._recheck_sessions: Final = recheck_sessions
        self._request_seconds: Final = request_seconds
        self._retry_pause_seconds: Final = retry_pause_seconds
        self._subjects: Final[set[Subject]] = set()
        #: Those that the present sweep has not reached, and those that were added since it began.
        self._unswept: set[Subject] = set()
        self._added: set[Subject] = set()
        #: Requests, each with its time (monotonic seconds).
        self._requests: dict[Subject, float] = {}
        self._is_requested = asyncio.Event()
        #: The subjects whose sessions have to be read again, later or now.
        self._timers: Final[dict[Subject, asyncio.TimerHandle]] = {}
        self._due: Final[set[Subject]] = set()
        self._is_due = asyncio.Event()
        #: Empty, as an event loop may keep a cancelled timer and its context for a long time.
        self._timer_context: Final = contextvars.Context()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_failing = False

    def add(self, subject: Subject) -> None:
        """Recheck the logged-in ``subject`` from now on."""
        self._subjects.add(subject)
        self._added.add(subject)
        self._put_due(subject, subject.identity.session)
        if not self._tasks:
            loop = asyncio.get_running_loop()
            steps = (self._sweep(), self._follow_due(), self._follow_requests())
            # Not in the context of the first connection, whose middleware may have set what
            # another has not: a tenant, say.
            context = contextvars.Context()
            self._tasks = [context.run(loop.create_task, _log_failure(step)) for step in steps]

    def discard(self, subject: Subject) -> None:
        """Do not recheck ``subject`` any more; without subjects the rechecker ends."""
        self._put_due(subject, None)
        for subjects in (self._subjects, self._unswept, self._added):
            subjects.discard(subject)
        self._requests.pop(subject, None)
        if not self._subjects:
            for task in self._tasks:
                task.cancel()
            self._tasks = []
            _rechecker_of_loop.drop(self)

    def recheck_soon(self, subject: Subject) -> None:
        """Recheck ``subject`` now, together with all others for which this is called now."""
        if subject in self._subjects:
            self._requests.setdefault(subject, time.monotonic())
            self._is_requested.set()

    def update_session(self, subject: Subject) -> None:
        """Follow a change of the session of ``subject``, or of the time at which it ends."""
        if subject in self._subjects:
            self._put_due(subject, subject.identity.session)

    def _put_due(self, subject: Subject, session: sessions.Session | None) -> None:
        """Have ``session`` read again when that is due, and not before."""
        self._due.discard(subject)
        if subject in self._timers:
            self._timers.pop(subject).cancel()
        if session is None:
            return
        seconds = session.recheck_at - time.time()
        if seconds > 0:
            self._timers[subject] = asyncio.get_running_loop().call_later(
                seconds, self._put_due, subject, session, context=self._timer_context
            )
        else:
            self._due.add(subject)
            self._is_due.set()

    async def _sweep(self) -> None:
        while True:
            self._unswept, self._added = set(self._subjects), set()
            await self._recheck_unswept(SWEEP_SPREAD)
            # Without this, subjects that were added would wait for longer than an interval.
            self._unswept, self._added = self._added, set()
            await self._recheck_unswept(0)

    async def _recheck_unswept(self, spread: float) -> None:
        """Recheck the unswept subjects, in batches over this part of the interval."""
        size = SUBJECTS_PER_BATCH if sessions.are_read_at_once() else SUBJECTS_PER_SLOW_BATCH
        count = max(1, math.ceil(len(self._unswept) / size))
        for _ in range(count):
            await asyncio.sleep(spread * conf.SESSION_RECHECK_INTERVAL / count)
            await self._run(self._recheck, _take(self._unswept, size), SWEEP_BATCH_SECONDS)

    async def _follow_requests(self) -> None:
        while True:
            await self._is_requested.wait()
            self._is_requested.clear()
            await self._recheck_requested()
            if self._requests:
                await asyncio.sleep(self._retry_pause_seconds if self._is_failing else 0)

    async def _recheck_requested(self) -> None:
        requests, self._requests = self._requests, {}
        waiting = set(requests)
        while waiting:
            batch = _take(waiting, SUBJECTS_PER_BATCH)
            if await self._run(self._recheck, batch, self._request_seconds):
                continue
            for subject in self._subjects.intersection(batch):
                if time.monotonic() - requests[subject] > self._request_seconds:
                    subject.recheck_failed()
                else:
                    self._requests[subject] = requests[subject]
                    self._is_requested.set()

    async def _follow_due(self) -> None:
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            while self._due:
                await self._recheck_due()

    async def _recheck_due(self) -> None:
        batch = _take(self._due, SUBJECTS_PER_BATCH)
        if not await self._run(self._recheck_sessions, batch, self._request_seconds):
            await asyncio.sleep(self._retry_pause_seconds)
            for subject in batch:
                self.update_session(subject)

    async def _run(self, recheck: Recheck, subjects: list[Subject], seconds: float) -> bool:
        """Recheck ``subjects`` and apply the results; False if that fails or takes too long."""
        subjects = [subject for subject in subjects if subject in self._subjects]
        if not subjects:
            return True
        identities = [subject.identity for subject in subjects]
        try:
            async with asyncio.timeout(seconds):
                results = await run_recheck(recheck, identities)
        except Exception as error:
            if not self._is_failing:
                self._is_failing = True
                logger.error("Open connections could not be rechecked.", exc_info=error)
            return False
        self._is_failing = False
        found = zip(subjects, identities, results, strict=True)
        for count, (subject, identity, result) in enumerate(found, 1):
            if subject in self._subjects:
                self._apply(subject, identity, result)
            if count % SUBJECTS_PER_TURN == 0:
                await asyncio.sleep(0)
        return True

    def _apply(self, subject: Subject, identity: Identity, result: RecheckResult) -> None:
        """Hand ``subject`` the ``result`` for ``identity``, unless it has another by now."""
        if subject.identity is not identity:
            self.recheck_soon(subject)
            return
        try:
            subject.apply(result)
        except Exception:
            logger.exception("A connection failed to apply the result of a recheck.")
        if result.identity is not None and result.identity.session is not identity.session:
            self._put_due(subject, result.identity.session)


async def _log_failure(step: Coroutine[Any, Any, None]) -> None:
    try:
        await step
    except Exception:
        logger.exception("Open connections are not rechecked any more.")


def _take(subjects: set[Subject], count: int) -> list[Subject]:
    return [subjects.pop() for _ in range(min(count, len(subjects)))]


_rechecker_of_loop: Final = PerLoop(Rechecker)


def get_rechecker() -> Rechecker:
    """The rechecker of the running event loop."""
    return _rechecker_of_loop.get()


def set_rechecker(rechecker: Rechecker) -> None:
    """Make ``rechecker``, which has no subjects yet, that of the running event loop."""
    _rechecker_of_loop.set(rechecker)
