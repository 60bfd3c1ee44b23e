"""Changes of rights that arrive during a recheck, a handshake or the join of a room."""

import asyncio
import json
from concurrent.futures import Future
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from pm_realtime import (
    abroadcast,
    adisconnect_connection,
    adisconnect_user,
    aget_connection,
    arefresh_user,
    asend_to_role,
    asend_to_room,
    asend_to_user,
    disconnect_user,
    send_to_room,
)
from pm_realtime.auth import (
    Rechecker,
    recheck_identities,
    set_rechecker,
)
from pm_realtime.backends import get_backend, use_streams
from pm_realtime.backends.memory_streams import MemoryStreams
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.hub import get_hub, use_hub
from pm_realtime.layer import connection_group, role_group, room_group
from tests.connection.revoking import (
    application,
    demoted,
    now,
    rechecked,
)
from tests.site import rules
from tests.support.helpers import Connection, errors_of, eventually, layer_groups
from tests.support.hubs import Stop, StoppingHub
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
        get_hub().control.recheck_all()
        await eventually(lambda: len(slow_rechecks) == 1)
        get_hub().control.recheck_all()
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
        get_hub().control.recheck_all()
        await eventually(lambda: consumers[0].identity.role == "user")
        gate.set()
        assert (await connection.receive())["type"] == "unsubscribed"


# During a handshake, or while a room is joined


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


@asynccontextmanager
async def changed_before_its_groups_are_joined(user, change, push):
    """A connection that is just opening; ``change()`` came when its user was read and no group was
    joined, and ``push()`` when all groups but the last one were."""
    consumers, stop = [], Stop()

    class Stopping(RealtimeConsumer):
        async def accept(self, *args, **kwargs):
            consumers.append(self)
            await stop.wait()
            await super().accept(*args, **kwargs)

    connection = Connection(
        headers=(await Browser.of(user)).headers, application=Stopping.as_asgi()
    )
    use_hub(hub := StoppingHub(None))
    async with Connection() as fence:
        connecting = asyncio.create_task(connection.connect())
        await stop.is_reached.wait()
        hub.stops_at = connection_group(consumers[0].connection_id)
        await change()
        # Else it may close the connection before that has come to the next stop.
        await fence.so_far()
        stop.go_on.set()
        await hub.stop.is_reached.wait()
        await push()
        await fence.so_far()
        hub.stop.go_on.set()
        await connecting
        try:
            yield connection
        finally:
            await connection.disconnect()


async def test_push_after_a_deactivation_is_held_while_groups_are_joined(rarely, user):
    async def deactivate():
        user.is_active = False
        await user.asave()

    async def push():
        await asend_to_user(user, "secret")
        await abroadcast("secret")

    async with changed_before_its_groups_are_joined(user, deactivate, push) as connection:
        await only_connected_then_closed(connection, 4504)


async def only_connected_then_closed(connection, code):
    found = []
    while (event := await connection.receive_output())["type"] == "websocket.send":
        found.append(json.loads(event["text"])["type"])
    assert event["code"] == code
    assert found in ([], ["connected"])


async def test_push_after_a_demotion_is_held_while_groups_are_joined(rarely, editor):
    async def push():
        await asend_to_role("editor", "secret")
        await asend_to_user(editor, "news")

    demote = editor.groups.aclear
    async with changed_before_its_groups_are_joined(editor, demote, push) as connection:
        connection.connected = (await connection.receive())["payload"]
        assert (await connection.receive())["type"] == "news"
        await rechecked(connection)
        assert await connection.types_so_far() == []


async def test_pushes_while_groups_are_joined_arrive_if_nothing_has_changed(rarely, editor, user):
    async def change():
        await arefresh_user(user)

    async def push():
        for number in range(3):
            await asend_to_role("editor", "news", number)

    async with changed_before_its_groups_are_joined(editor, change, push) as connection:
        first, *others = [await connection.receive() for _ in range(4)]
        assert first["type"] == "connected"
        assert [each["payload"] for each in others] == [0, 1, 2]
        assert await connection.is_alive()


async def in_a_transaction(user):
    """The right ends, and the disconnect is sent, at the commit."""

    def change():
        with transaction.atomic():
            disconnect_user(user)
            User.objects.filter(pk=user.pk).update(is_active=False)

    await now(change)


@pytest.mark.parametrize("disconnect", [adisconnect_user, in_a_transaction])
async def test_disconnect_reaches_a_user_whose_handshake_is_under_way(rarely, user, disconnect):
    async def end_right():
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)
        await disconnect(user)

    async def push():
        await asend_to_user(user, "secret")

    async with changed_before_its_groups_are_joined(user, end_right, push) as connection:
        await only_connected_then_closed(connection, 4503)


async def test_disconnect_does_not_reach_handshakes_that_begin_after_it(rarely, user):
    async with Connection(user=user) as before:
        await adisconnect_user(user)
        await before.assert_closed(4503)
    async with Connection(user=user) as after:
        await rechecked(after)
        assert await after.is_alive()


async def test_disconnect_reaches_a_connection_whose_handshake_is_under_way(rarely, user):
    class Starting(RealtimeConsumer):
        async def accept(self, *args, **kwargs):
            await adisconnect_connection(self.connection_id, code=4000)
            await fence.so_far()
            await super().accept(*args, **kwargs)

    connection = Connection(
        headers=(await Browser.of(user)).headers, application=Starting.as_asgi()
    )
    async with Connection() as fence:
        await connection.connect()
        await only_connected_then_closed(connection, 4000)
        assert await fence.is_alive()


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
        # The message about it is lost with all streams.
        use_streams(MemoryStreams())
        await get_hub().control.catch_up()

    try:
        async with interrupted(editor, stop, demote, Stopping.as_asgi()):
            await eventually(lambda: role_group("editor") not in layer_groups())
    finally:
        use_streams(None)
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
