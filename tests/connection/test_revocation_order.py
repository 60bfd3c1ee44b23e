"""Changes of rights that arrive during a recheck, a handshake or the join of a room."""

import asyncio
from concurrent.futures import Future
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from pm_realtime import (
    aget_connection,
    arefresh_user,
    asend_to_role,
    asend_to_room,
    send_to_room,
)
from pm_realtime.auth import (
    Rechecker,
    recheck_identities,
    set_rechecker,
)
from pm_realtime.backends import get_backend
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.hub import Hub, get_hub, use_hub
from pm_realtime.layer import role_group, room_group
from tests.connection.revoking import (
    application,
    demoted,
    now,
    rechecked,
)
from tests.site import rules
from tests.support.helpers import Connection, errors_of, eventually, layer_groups
from tests.support.sessions import Browser

pytestmark = pytest.mark.usefixtures("leaves_nothing")

User = get_user_model()


# Results that were read before a change


@pytest.fixture
async def slow_rechecks():
    """Each recheck reads at once, but returns only when the test says so."""
    rechecks = []

    def recheck(identities):
        results, may_return = recheck_identities(identities), Future()
        rechecks.append(may_return)
        may_return.result(30)
        return results

    set_rechecker(Rechecker(recheck=recheck))
    yield rechecks
    for each in rechecks:
        each.cancel()


async def test_result_read_before_a_demotion_releases_nothing(configure, editor, slow_rechecks):
    configure(SESSION_RECHECK_INTERVAL=0.2)
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        await eventually(lambda: len(slow_rechecks) == 1)
        await editor.groups.aclear()
        await eventually(lambda: len(slow_rechecks) == 2)
        await asend_to_room("support", "secret")
        slow_rechecks[0].set_result(None)
        await eventually(lambda: len(slow_rechecks) == 3)  # The sweep has gone on.
        assert await is_held(connection)
        for each in slow_rechecks[1:]:
            each.set_result(None)
        assert (await connection.receive())["type"] == "unsubscribed"


async def is_held(connection):
    """Whether what is pushed to ``connection`` does not reach it."""
    await asyncio.sleep(0)
    await connection.ask("ping")
    return not connection.unread()


async def test_second_recheck_keeps_the_change_that_the_first_found(rarely, editor, slow_rechecks):
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        rows = User.groups.through.objects.all()
        await now(lambda: rows._raw_delete(rows.db))
        await get_hub().channel.resubscribe()
        await eventually(lambda: len(slow_rechecks) == 1)
        await get_hub().channel.resubscribe()
        slow_rechecks[0].set_result(None)
        await eventually(lambda: len(slow_rechecks) == 2)
        slow_rechecks[1].set_result(None)
        await demoted(connection)


class Gate(asyncio.Event):
    """An event that counts the rules that wait for it."""

    waiting = 0

    async def wait(self):
        self.waiting += 1
        await super().wait()
        self.waiting -= 1


async def test_last_of_two_rechecks_releases_held_messages(rarely, configure, editor):
    configure(ROOMS={"support": {"min_role": "editor", "authorize": "tests.site.rules.by_gate"}})
    consumers = []

    class Watched(RealtimeConsumer):
        async def connect(self):
            consumers.append(self)
            await super().connect()

    async with Connection(user=editor, application=Watched.as_asgi()) as connection:
        gate = rules.gates["support"] = Gate()
        gate.set()
        await connection.subscribe("support")
        gate.clear()
        await arefresh_user(editor)
        await eventually(lambda: gate.waiting)
        await asend_to_room("support", "secret")
        rows = User.groups.through.objects.all()
        await now(lambda: rows._raw_delete(rows.db))
        await get_hub().channel.resubscribe()
        await eventually(lambda: consumers[0].identity.role == "user")
        gate.set()
        assert (await connection.receive())["type"] == "unsubscribed"


# During a handshake, or while a room is joined


class Stop:
    """The first task that comes here waits until the test says so."""

    def __init__(self):
        self.is_reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def wait(self):
        if not self.is_reached.is_set():
            self.is_reached.set()
            await self.go_on.wait()


class StoppingHub(Hub):
    """Stops before the first join of ``group``."""

    def __init__(self, group):
        super().__init__()
        self.stop = Stop()
        self._stops_at = group

    async def join(self, member, group, **options):
        if group == self._stops_at:
            await self.stop.wait()
        await super().join(member, group, **options)


@asynccontextmanager
async def interrupted(user, stop, meanwhile, application=None):
    """A connection of ``user``; ``meanwhile()`` happened while its handshake was at ``stop``."""
    connection = Connection(headers=(await Browser.of(user)).headers, application=application)
    connecting = asyncio.create_task(connection.__aenter__())
    await stop.is_reached.wait()
    await meanwhile()
    stop.go_on.set()
    await connecting
    try:
        yield connection
    finally:
        await connection.disconnect()


async def test_role_lost_while_its_groups_are_joined_is_left(rarely, editor):
    hub = StoppingHub(role_group("editor"))
    use_hub(hub)

    async def demote():
        async with Connection(user=editor) as fence:
            await fence.subscribe("support")
            await editor.groups.aclear()
            await demoted(fence)

    async with interrupted(editor, hub.stop, demote) as connection:
        await rechecked(connection)
        await asend_to_role("editor", "secret")
        assert await connection.types_so_far() == []


async def test_role_lost_while_the_slot_is_taken_is_counted_right(rarely, configure, editor):
    configure(BACKEND="tests.connection.fakes.PausingBackend")
    backend = get_backend()
    stop = SimpleNamespace(is_reached=backend.was_asked, go_on=backend.may_answer)

    async def demote():
        await editor.groups.aclear()
        await eventually(lambda: role_group("editor") not in layer_groups())

    async with interrupted(editor, stop, demote) as connection:
        assert connection.connected["role"] == "user"
        assert (await aget_connection(connection.connection_id)).role == "user"


async def test_change_during_a_handshake_and_an_outage_is_found(rarely, editor, caplog):
    stop = Stop()

    class Stopping(RealtimeConsumer):
        async def accept(self, *args, **kwargs):
            await stop.wait()
            await super().accept(*args, **kwargs)

    async def demote():
        rows = User.groups.through.objects.all()
        await now(lambda: rows._raw_delete(rows.db))
        await get_hub().channel.resubscribe()

    async with interrupted(editor, stop, demote, Stopping.as_asgi()):
        await eventually(lambda: role_group("editor") not in layer_groups())
    assert errors_of(caplog) == []


async def test_role_lost_while_a_room_is_joined_takes_the_room_away(rarely, editor):
    hub = StoppingHub(room_group("support"))
    use_hub(hub)
    async with Connection(user=editor) as connection:
        await connection.command("subscribe", {"room": "support"})
        await hub.stop.is_reached.wait()
        await editor.groups.aclear()
        await eventually(lambda: role_group("editor") not in layer_groups())
        await asyncio.sleep(0)
        hub.stop.go_on.set()
        await connection.assert_push("subscribed")
        await demoted(connection)


async def test_message_that_overtakes_the_refresh_is_held(rarely, editor):
    def demote_and_send():
        with transaction.atomic():
            transaction.on_commit(lambda: send_to_room("support", "secret"))
            editor.groups.clear()

    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        await now(demote_and_send)
        await demoted(connection)
        assert await connection.types_so_far() == []


async def test_rolled_back_transaction_delays_messages_and_loses_none(rarely, editor):
    def demote_in_vain():
        with transaction.atomic():
            editor.groups.clear()
            transaction.set_rollback(True)

    impatient = application(transaction_seconds=0.1)
    async with Connection(user=editor, application=impatient) as connection:
        await connection.subscribe("support")
        await now(demote_in_vain)
        await asend_to_room("support", "news")
        await connection.assert_push("news")
