"""All connections of a process are looked at together: few queries, no pause for the rest."""

import asyncio
import time
import weakref
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper

from pm_realtime import arefresh_user
from pm_realtime.auth import Identity, RecheckResult, get_rechecker, rechecker
from pm_realtime.auth.sessions import Session
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.hub import get_hub
from pm_realtime.testing import session_cookie
from tests.support.helpers import Connection, errors_of, eventually

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()


class Subject:
    """A connection as the checker sees it, and what it was told."""

    def __init__(self, look_at=float("inf")):
        session = Session("key", "name", {}, float("inf"), look_at)
        self.identity = Identity(object(), 1, session=session)
        self.verdicts = []
        self.has_given_up = False

    def apply(self, verdict):
        self.verdicts.append(verdict)

    def give_up(self):
        self.has_given_up = True


@pytest.fixture
def looks(monkeypatch):
    """What the checker asks for: each look is recorded, and finds everybody as they were."""
    looks = []

    def look(identities):
        looks.append((time.monotonic(), len(identities)))
        return [RecheckResult(identity) for identity in identities]

    monkeypatch.setattr(rechecker, "recheck", look)
    monkeypatch.setattr(rechecker, "recheck_sessions", look)
    return looks


@pytest.fixture
async def watched():
    """The checker of this loop, and what puts subjects into it until the test ends."""
    subjects = []

    def watch(*more):
        subjects.extend(more)
        for subject in more:
            get_rechecker().add(subject)
        return get_rechecker()

    yield watch
    for subject in subjects:
        get_rechecker().discard(subject)
    assert rechecker._rechecker_of_loop._made == {}
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})


# Against a database


@pytest.fixture
async def thousand(transactional_db, configure):
    """A thousand connections of two hundred users, each with a session of its own."""
    configure(SESSION_RECHECK_INTERVAL=600)
    users = [User(username=f"user-{number}", password="x") for number in range(200)]
    await User.objects.abulk_create(users)
    group = await Group.objects.acreate(name="editor")
    await group.user_set.aset(users[:100])
    cookies = [await session_cookie(user) for user in users for _ in range(5)]
    async with AsyncExitStack() as stack:
        for cookie in cookies:
            await stack.enter_async_context(Connection(headers=[(b"cookie", cookie)]))
        yield users


@pytest.fixture
def queries(monkeypatch):
    """The queries of all threads."""
    queries = []
    execute = CursorWrapper.execute

    def record(self, sql, params=None):
        queries.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", record)
    return queries


class Pulse:
    """How long the event loop was away at most."""

    def __init__(self):
        self.longest = 0.0

    async def __aenter__(self):
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *error):
        self._task.cancel()

    async def _beat(self):
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - began - 0.001)


@pytest.fixture
def found(monkeypatch):
    """What connections are told, whoever tells them."""
    found = []
    apply = rechecker.Rechecker._tell

    def tell(self, subject, identity, verdict):
        found.append(verdict)
        apply(self, subject, identity, verdict)

    monkeypatch.setattr(rechecker.Rechecker, "_tell", tell)
    return found


async def test_a_thousand_connections_are_rechecked_with_three_queries_while_the_loop_goes_on(
    thousand, queries, configure, found
):
    """When asked for and by the sweep. The machine has other things to do: the best try counts."""
    longest = []
    for _ in range(5):
        found.clear()
        queries.clear()
        async with Pulse() as pulse:
            for subject in list(get_rechecker()._subjects):
                get_rechecker().ask(subject)
            await eventually(lambda: len(found) == 1000)
        longest.append(pulse.longest)
        assert len(queries) == 3
    assert {verdict.code for verdict in found} == {None}
    assert [verdict.identity.role for verdict in found].count("editor") == 500
    assert min(longest) < 0.05, longest


async def test_a_database_that_fails_is_logged_once_and_ends_nobodys_connection(
    configure, user, monkeypatch, caplog
):
    configure(SESSION_RECHECK_INTERVAL=0.05)
    execute = CursorWrapper.execute
    asked = []

    def fail(self, *args):
        asked.append(args)
        raise OperationalError("the database is away")

    async with Connection(user=user) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(CursorWrapper, "execute", fail)
            await eventually(lambda: len(asked) >= 5)
        assert CursorWrapper.execute is execute
        assert await connection.is_alive()
        user.is_active = False
        await sync_to_async(User.objects.filter(pk=user.pk).update)(is_active=False)
        await connection.assert_closed(4504)
    assert len(errors_of(caplog)) == 1


async def test_who_is_in_doubt_is_told_to_come_back_where_nothing_can_be_found_out(
    configure, user, monkeypatch, caplog
):
    configure(SESSION_RECHECK_INTERVAL=600)
    monkeypatch.setattr(rechecker, "PATIENCE", 0.3)

    def fail(self, *args):
        raise OperationalError("the database is away")

    async with Connection(user=user) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(CursorWrapper, "execute", fail)
            await arefresh_user(user)
            await connection.assert_closed(4013)
    assert len(errors_of(caplog)) == 1


async def test_who_is_in_no_doubt_stays_where_nothing_can_be_found_out(
    configure, user, monkeypatch
):
    """As when Redis is back before the database is."""
    configure(SESSION_RECHECK_INTERVAL=600)
    monkeypatch.setattr(rechecker, "PATIENCE", 0.1)
    gave_up = []
    give_up = RealtimeConsumer.give_up

    def note(self):
        gave_up.append(self)
        give_up(self)

    def fail(self, *args):
        raise OperationalError("the database is away")

    monkeypatch.setattr(RealtimeConsumer, "give_up", note)
    async with Connection(user=user) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(CursorWrapper, "execute", fail)
            await get_hub()._mend()
            await eventually(lambda: gave_up)
        assert await connection.is_alive()


# Without one


async def test_a_sweep_is_spread_over_the_interval(
    configure, looks, watched, monkeypatch, settings
):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.file"
    configure(SESSION_RECHECK_INTERVAL=1)
    watched(*(Subject() for _ in range(4 * rechecker.FEW)))
    began = time.monotonic()
    await eventually(lambda: len(looks) >= 4)
    assert [count for _, count in looks] == [rechecker.FEW] * 4
    moments = [moment - began for moment, _ in looks]
    assert all(later - earlier > 0.15 for earlier, later in pairwise(moments))


async def test_who_comes_during_a_sweep_is_looked_at_at_its_end(configure, looks, watched):
    configure(SESSION_RECHECK_INTERVAL=1)
    first, second = Subject(), Subject()
    watched(first)
    await asyncio.sleep(0.1)
    watched(second)
    await eventually(lambda: second.verdicts)
    assert len(first.verdicts) == 1


async def test_all_who_ask_at_once_are_looked_at_together(configure, looks, watched):
    configure(SESSION_RECHECK_INTERVAL=600)
    subjects = [Subject() for _ in range(100)]
    found = watched(*subjects)
    for subject in subjects * 3:
        found.ask(subject)
    await eventually(lambda: all(len(subject.verdicts) == 1 for subject in subjects))
    assert [count for _, count in looks] == [100]


async def test_who_has_gone_is_not_looked_at(configure, looks, watched):
    configure(SESSION_RECHECK_INTERVAL=600)
    stays, goes = Subject(), Subject()
    found = watched(stays, goes)
    found.ask(goes)
    found.ask(stays)
    found.discard(goes)
    found.ask(goes)
    await eventually(lambda: stays.verdicts)
    assert goes.verdicts == []


async def test_a_session_is_looked_at_when_it_ends(configure, looks, watched):
    configure(SESSION_RECHECK_INTERVAL=600)
    soon, later = Subject(look_at=time.time() + 0.2), Subject(look_at=time.time() + 600)
    watched(soon, later)
    await eventually(lambda: soon.verdicts)
    assert later.verdicts == []


async def test_a_session_put_off_is_not_looked_at_at_its_old_time(configure, looks, watched):
    configure(SESSION_RECHECK_INTERVAL=600)
    fence, put_off = Subject(look_at=time.time() + 0.3), Subject(look_at=time.time() + 0.2)
    found = watched(fence, put_off)
    put_off.identity = Subject(look_at=time.time() + 600).identity
    found.note_session(put_off)
    await eventually(lambda: fence.verdicts)
    assert put_off.verdicts == []


async def test_dates_of_many_renewals_do_not_pile_up(configure, looks, watched):
    configure(SESSION_RECHECK_INTERVAL=600)
    subject = Subject(look_at=time.time() + 600)
    found = watched(subject)
    for number in range(10_000):
        subject.identity = Subject(look_at=time.time() + 600 + number).identity
        found.note_session(subject)
    assert len(found._dates) < 200


async def test_of_who_has_gone_nothing_is_kept(configure, looks, watched):
    configure(SESSION_RECHECK_INTERVAL=600)
    found = watched(Subject(look_at=time.time() + 600))
    goes = Subject(look_at=time.time() + 600)
    trace = weakref.ref(goes)
    found.add(goes)
    found.discard(goes)
    del goes
    assert trace() is None


async def test_of_who_goes_after_a_look_nothing_is_kept(configure, looks, watched):
    """Neither by the sweep that waits for its next batch, nor by who answered the last question."""
    configure(SESSION_RECHECK_INTERVAL=600)
    found = watched(Subject())
    both = [Subject(), Subject(look_at=time.time() - 1)]
    for subject in both:
        found.add(subject)
    await eventually(lambda: both[1].verdicts)
    found.ask(both[0])
    await eventually(lambda: both[0].verdicts)
    traces = [weakref.ref(subject) for subject in both]
    for subject in both:
        found.discard(subject)
    both.clear()
    del subject
    await eventually(lambda: [trace() for trace in traces] == [None, None])


async def test_a_verdict_about_somebody_else_is_not_told(configure, watched, monkeypatch):
    configure(SESSION_RECHECK_INTERVAL=600)
    subject = Subject()
    asked = []

    def look(identities):
        asked.append(identities[0])
        if len(asked) == 1:
            subject.identity = Subject().identity
        return [RecheckResult(identity) for identity in identities]

    monkeypatch.setattr(rechecker, "recheck", look)
    watched(subject).ask(subject)
    await eventually(lambda: subject.verdicts)
    assert [verdict.identity for verdict in subject.verdicts] == [subject.identity]
    assert len(asked) == 2
