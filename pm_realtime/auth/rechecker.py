"""The schedule of rechecks for the connections of one event loop.

In each ``SESSION_RECHECK_INTERVAL`` a sweep rechecks all connections, in batches that are spread
over the interval. A connection is also rechecked when its session may have expired, and at once
when something has changed. :mod:`pm_realtime.auth.recheck` decides, in a thread, for many at once.
"""

import asyncio
import logging
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from pm_realtime.auth import sessions
from pm_realtime.auth.database import run_recheck
from pm_realtime.auth.due_queue import DueQueue
from pm_realtime.auth.identity import Identity
from pm_realtime.auth.recheck import RecheckResult, recheck_identities, recheck_sessions
from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import conf

T = TypeVar("T")

logger = logging.getLogger("pm_realtime.auth")

#: Connections that are rechecked together if one query reads the sessions of all.
SUBJECTS_PER_BATCH: Final = 1000
#: The same if each session is read alone.
SUBJECTS_PER_SLOW_BATCH: Final = 50
#: Connections that get their results before other tasks of the loop have a turn.
SUBJECTS_PER_TURN: Final = 50
#: The part of the interval over which a sweep is spread.
SWEEP_SPREAD: Final = 0.9

Recheck = Callable[[Sequence[Identity]], list[RecheckResult]]


@dataclass(frozen=True, slots=True)
class RecheckTimings:
    """How long rechecks may take."""

    #: Between two attempts while rechecks fail.
    retry_pause_seconds: float = 0.25
    #: For one attempt of a recheck that was requested, and for all its attempts.
    request_seconds: float = 5.0
    #: For one batch of a sweep.
    sweep_batch_seconds: float = 30.0


class Subject(Protocol):
    """The part of a connection that the rechecker uses."""

    @property
    def identity(self) -> Identity: ...

    def apply(self, result: RecheckResult) -> None:
        """Follow the result of a recheck of ``identity``."""

    def recheck_failed(self) -> None:
        """No recheck succeeded in time after it was requested."""


class Rechecker:
    """Belongs to the event loop in which it was made; see :func:`get_rechecker`."""

    def __init__(
        self,
        *,
        recheck: Recheck = recheck_identities,
        recheck_sessions: Recheck = recheck_sessions,
        timings: RecheckTimings | None = None,
    ) -> None:
        self._recheck: Final = recheck
        self._recheck_sessions: Final = recheck_sessions
        self._timings: Final = timings or RecheckTimings()
        self._subjects: Final[set[Subject]] = set()
        #: Requests, each with its time (monotonic seconds).
        self._requests: dict[Subject, float] = {}
        self._is_requested = asyncio.Event()
        #: The times (epoch seconds) at which sessions have to be read again.
        self._due: Final = DueQueue[Subject]()
        self._is_due_earlier = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_failing = False

    def add(self, subject: Subject) -> None:
        """Recheck the logged-in ``subject`` from now on."""
        self._subjects.add(subject)
        self._put_due(subject, subject.identity.session)
        if not self._tasks:
            loop = asyncio.get_running_loop()
            steps = (self._sweep(), self._follow_due(), self._follow_requests())
            self._tasks = [loop.create_task(_log_failure(step)) for step in steps]

    def discard(self, subject: Subject) -> None:
        """Do not recheck ``subject`` any more; without subjects the rechecker ends."""
        self._due.discard(subject)
        self._subjects.discard(subject)
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
        if session is not None and self._due.put(subject, session.recheck_at):
            self._is_due_earlier.set()

    async def _sweep(self) -> None:
        while True:
            size = SUBJECTS_PER_BATCH if sessions.are_read_at_once() else SUBJECTS_PER_SLOW_BATCH
            known = weakref.WeakSet(self._subjects)
            batches = _batched(_weak(known), size) or [[]]
            for batch in batches:
                await asyncio.sleep(SWEEP_SPREAD * conf.SESSION_RECHECK_INTERVAL / len(batches))
                await self._sweep_batch(batch)
            # Subjects that were added meanwhile would wait for longer than an interval.
            new = _weak(subject for subject in self._subjects if subject not in known)
            for batch in _batched(new, size):
                await self._sweep_batch(batch)

    async def _sweep_batch(self, batch: Sequence[weakref.ref[Subject]]) -> None:
        found = [each() for each in batch]
        present = [each for each in found if each is not None and each in self._subjects]
        await self._run(self._recheck, present, self._timings.sweep_batch_seconds)

    async def _follow_requests(self) -> None:
        while True:
            await self._is_requested.wait()
            self._is_requested.clear()
            await self._recheck_requested()
            if self._requests:
                await asyncio.sleep(self._timings.retry_pause_seconds if self._is_failing else 0)

    async def _recheck_requested(self) -> None:
        requests, self._requests = self._requests, {}
        for batch in _batched(list(requests), SUBJECTS_PER_BATCH):
            present = [subject for subject in batch if subject in self._subjects]
            if not await self._run(self._recheck, present, self._timings.request_seconds):
                self._request_again({subject: requests[subject] for subject in present})

    def _request_again(self, requests: dict[Subject, float]) -> None:
        now = time.monotonic()
        for subject, requested_at in requests.items():
            if now - requested_at > self._timings.request_seconds:
                subject.recheck_failed()
            elif subject in self._subjects:
                self._requests[subject] = requested_at
                self._is_requested.set()

    async def _follow_due(self) -> None:
        while True:
            self._is_due_earlier.clear()
            next_at = self._due.next_at
            seconds = None if next_at is None else next_at - time.time()
            if seconds is None or seconds > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._is_due_earlier.wait()
            else:
                await self._recheck_due()

    async def _recheck_due(self) -> None:
        for batch in _batched(self._due.take_due(time.time()), SUBJECTS_PER_BATCH):
            if not await self._run(self._recheck_sessions, batch, self._timings.request_seconds):
                await asyncio.sleep(self._timings.retry_pause_seconds)
                for subject in batch:
                    self.update_session(subject)

    async def _run(self, recheck: Recheck, subjects: list[Subject], seconds: float) -> bool:
        """Recheck ``subjects`` and apply the results; False if that fails or takes too long."""
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


def _weak(subjects: Iterable[Subject]) -> list[weakref.ref[Subject]]:
    """Weak references, so that a sweep does not keep closed connections alive."""
    return [weakref.ref(subject) for subject in subjects]


def _batched(items: list[T], size: int) -> list[list[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


_rechecker_of_loop: Final = PerLoop(Rechecker)


def get_rechecker() -> Rechecker:
    """The rechecker of the running event loop."""
    return _rechecker_of_loop.get()


def set_rechecker(rechecker: Rechecker) -> None:
    """Make ``rechecker``, which has no subjects yet, that of the running event loop."""
    _rechecker_of_loop.set(rechecker)
