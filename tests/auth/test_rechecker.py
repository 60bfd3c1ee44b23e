"""Subjects are rechecked by the sweep, when their session ends, and on request."""

import asyncio
import time
import weakref
from itertools import pairwise

import pytest
from django.db import OperationalError

from pm_realtime.auth import (
    Identity,
    Rechecker,
    RecheckResult,
    Session,
    get_rechecker,
    set_rechecker,
)
from pm_realtime.auth.rechecker import SUBJECTS_PER_SLOW_BATCH
from tests.support.helpers import errors_of, eventually


@pytest.fixture
def rarely(configure):
    """No sweep takes place during the test."""
    configure(SESSION_RECHECK_INTERVAL=600)


class Subject:
    """A connection as the rechecker sees it, and the results that it got."""

    def __init__(self, recheck_at=float("inf")):
        session = Session("key", "name", {}, float("inf"), recheck_at)
        self.identity = Identity(object(), 1, session=session)
        self.results = []
        self.failures = 0

    def apply(self, result):
        self.results.append(result)

    def recheck_failed(self):
        self.failures += 1


class Log(list):
    """The time and the size of each recheck, which finds every identity unchanged."""

    def recheck(self, identities):
        self.append((time.monotonic(), len(identities)))
        return [RecheckResult(identity) for identity in identities]

    @property
    def sizes(self):
        return [size for _, size in self]


@pytest.fixture
def log():
    return Log()


@pytest.fixture
async def make_rechecker(log):
    """Make the rechecker of this loop, with these subjects until the test ends."""
    subjects = []
    made = []

    def make(*more, recheck=log.recheck, **options):
        rechecker = Rechecker(recheck=recheck, recheck_sessions=recheck, **options)
        set_rechecker(rechecker)
        made.append(rechecker)
        subjects.extend(more)
        for subject in more:
            rechecker.add(subject)
        return rechecker

    yield make
    for subject in subjects:
        made[0].discard(subject)
    assert get_rechecker() is not made[0]
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_sweep_is_spread_over_the_interval(configure, log, make_rechecker, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.file"
    configure(SESSION_RECHECK_INTERVAL=1)
    make_rechecker(*(Subject() for _ in range(4 * SUBJECTS_PER_SLOW_BATCH)))
    began = time.monotonic()
    await eventually(lambda: len(log) >= 4)
    assert log.sizes == [SUBJECTS_PER_SLOW_BATCH] * 4
    moments = [moment - began for moment, _ in log]
    assert all(later - earlier > 0.15 for earlier, later in pairwise(moments))


async def test_subject_added_during_a_sweep_is_rechecked_at_its_end(configure, make_rechecker):
    configure(SESSION_RECHECK_INTERVAL=1)
    first, second = Subject(), Subject()
    rechecker = make_rechecker(first)
    await asyncio.sleep(0.1)
    rechecker.add(second)
    await eventually(lambda: second.results)
    assert len(first.results) == 1
    rechecker.discard(second)


async def test_requests_at_the_same_time_are_one_recheck(rarely, log, make_rechecker):
    subjects = [Subject() for _ in range(100)]
    rechecker = make_rechecker(*subjects)
    for subject in subjects * 3:
        rechecker.recheck_soon(subject)
    await eventually(lambda: all(len(subject.results) == 1 for subject in subjects))
    assert log.sizes == [100]


async def test_discarded_subject_is_not_rechecked(rarely, make_rechecker):
    stays, goes = Subject(), Subject()
    rechecker = make_rechecker(stays, goes)
    rechecker.recheck_soon(goes)
    rechecker.recheck_soon(stays)
    rechecker.discard(goes)
    rechecker.recheck_soon(goes)
    await eventually(lambda: stays.results)
    assert goes.results == []


async def test_session_is_read_when_it_ends(rarely, make_rechecker):
    soon, later = Subject(recheck_at=time.time() + 0.2), Subject(recheck_at=time.time() + 600)
    make_rechecker(soon, later)
    await eventually(lambda: soon.results)
    assert later.results == []


async def test_prolonged_session_is_not_read_at_its_old_end(rarely, make_rechecker):
    fence = Subject(recheck_at=time.time() + 0.3)
    prolonged = Subject(recheck_at=time.time() + 0.2)
    rechecker = make_rechecker(fence, prolonged)
    prolonged.identity = Subject(recheck_at=time.time() + 600).identity
    rechecker.update_session(prolonged)
    await eventually(lambda: fence.results)
    assert prolonged.results == []


async def test_shortened_session_is_read_at_its_new_end(rarely, make_rechecker):
    shortened = Subject(recheck_at=time.time() + 600)
    rechecker = make_rechecker(shortened)
    shortened.identity = Subject(recheck_at=time.time() + 0.1).identity
    rechecker.update_session(shortened)
    await eventually(lambda: shortened.results)
    assert time.time() >= shortened.identity.session.recheck_at


@pytest.mark.parametrize("seconds", [-1, 0.1])
async def test_session_of_a_discarded_subject_is_not_read(rarely, make_rechecker, seconds):
    fence = Subject(recheck_at=time.time() + 0.2)
    goes = Subject(recheck_at=time.time() + seconds)
    rechecker = make_rechecker(fence, goes)
    rechecker.discard(goes)
    await eventually(lambda: fence.results)
    assert goes.results == []
    rechecker.add(goes)
    await eventually(lambda: goes.results)


async def test_sessions_that_cannot_be_read_at_their_end_are_read_again(rarely, log, caplog):
    attempts = []

    def recheck(identities):
        attempts.append(identities)
        if len(attempts) < 3:
            raise OperationalError("the database is away")
        return log.recheck(identities)

    rechecker = Rechecker(recheck_sessions=recheck, retry_pause_seconds=0.01)
    subject = Subject(recheck_at=time.time() - 1)
    rechecker.add(subject)
    await eventually(lambda: subject.results)
    rechecker.discard(subject)
    assert len(attempts) == 3
    assert len(errors_of(caplog)) == 1


async def test_discarded_subject_is_not_kept_alive(rarely, make_rechecker):
    rechecker = make_rechecker(Subject(recheck_at=time.time() + 600))
    goes = Subject(recheck_at=time.time() + 600)
    trace = weakref.ref(goes)
    rechecker.add(goes)
    rechecker.discard(goes)
    del goes
    assert trace() is None


async def test_subject_discarded_after_a_recheck_is_not_kept_alive(rarely, make_rechecker):
    """Neither by a sweep that waits for its next batch nor by the last request."""
    rechecker = make_rechecker(Subject())
    both = [Subject(), Subject(recheck_at=time.time() - 1)]
    for subject in both:
        rechecker.add(subject)
    await eventually(lambda: both[1].results)
    rechecker.recheck_soon(both[0])
    await eventually(lambda: both[0].results)
    traces = [weakref.ref(subject) for subject in both]
    for subject in both:
        rechecker.discard(subject)
    both.clear()
    del subject
    await eventually(lambda: [trace() for trace in traces] == [None, None])


async def test_result_for_a_replaced_identity_is_not_applied(rarely, make_rechecker):
    subject = Subject()
    asked = []

    def recheck(identities):
        asked.append(identities[0])
        if len(asked) == 1:
            subject.identity = Subject().identity
        return [RecheckResult(identity) for identity in identities]

    make_rechecker(subject, recheck=recheck).recheck_soon(subject)
    await eventually(lambda: subject.results)
    assert [result.identity for result in subject.results] == [subject.identity]
    assert len(asked) == 2


async def test_subject_that_fails_to_apply_its_result_stops_no_other(
    rarely, make_rechecker, caplog
):
    class Broken(Subject):
        def apply(self, result):
            raise LookupError("a bug")

    broken, other = Broken(), Subject()
    rechecker = make_rechecker(broken, other)
    rechecker.recheck_soon(broken)
    rechecker.recheck_soon(other)
    await eventually(lambda: other.results)
    (record,) = errors_of(caplog)
    assert record.name == "pm_realtime.auth"
