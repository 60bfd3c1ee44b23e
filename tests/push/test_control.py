"""Server code that closes connections and moves them between rooms."""

import asyncio
import uuid

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

import pm_realtime
from pm_realtime import aget_stats
from tests.support.helpers import Connection, assert_envelope, assert_refusal

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def test_disconnect_user_closes_every_connection_of_the_user(helpers, crowd, users):
    await helpers.disconnect_user(users["user"])
    for name in ("user", "user 2"):
        await crowd[name].assert_closed(4503)
        await crowd[name].assert_ended()
    assert all([await crowd[name].is_alive() for name in ("editor", "master", "anonymous")])


async def test_disconnect_connection_closes_one(helpers, crowd):
    await helpers.disconnect_connection(crowd["user"].connection_id)
    await crowd["user"].assert_closed(4503)
    assert await crowd["user 2"].is_alive()


@pytest.mark.parametrize("code", [1000, 3000, 4012, 4504, 4999])
async def test_disconnect_uses_the_code_and_reason_given(helpers, code):
    async with Connection() as connection:
        await helpers.disconnect_connection(connection.connection_id, code=code, reason="so long")
        closing = await connection.receive_output()
        assert closing == {"type": "websocket.close", "code": code, "reason": "so long"}


@pytest.mark.parametrize("code", [0, 999, 1001, 1005, 1006, 2999, 5000, -1, "4503", 4503.5, None])
async def test_invalid_close_code_is_a_value_error(helpers, code):
    async with Connection() as connection:
        with pytest.raises(ValueError, match="expected a close code"):
            await helpers.disconnect_connection(connection.connection_id, code=code)
        with pytest.raises(ValueError, match="expected a close code"):
            await helpers.disconnect_user(uuid.uuid4(), code=code)
        assert await connection.is_alive()


async def test_pushes_before_a_disconnect_arrive(helpers, user):
    async with Connection(), Connection(user=user) as connection:
        for number in range(10):
            await helpers.send_to_user(user, "tick", number)
        await helpers.disconnect_user(user)
        await helpers.send_to_user(user, "too late")
        assert [(await connection.receive())["payload"] for _ in range(10)] == list(range(10))
        assert (await connection.receive_output())["type"] == "websocket.close"
        await connection.assert_ended()
        assert connection.output_queue.empty()


@pytest.mark.parametrize("is_rolled_back", [True, False])
async def test_disconnect_in_a_transaction_waits_for_its_commit(user, editor, is_rolled_back):
    loop = asyncio.get_running_loop()

    def change():
        with transaction.atomic():
            pm_realtime.disconnect_user(user)
            pm_realtime.disconnect_connection(other.connection_id)
            asyncio.run_coroutine_threadsafe(connection.so_far(), loop).result()
            transaction.set_rollback(is_rolled_back)

    async with Connection(user=user) as connection, Connection(user=editor) as other:
        await sync_to_async(change)()
        if is_rolled_back:
            assert await connection.types_so_far() == []
            assert await other.is_alive()
        else:
            await connection.assert_closed(4503)
            await other.assert_closed(4503)


async def test_disconnect_without_on_commit_is_sent_at_once(user):
    def change():
        with transaction.atomic():
            pm_realtime.disconnect_user(user, on_commit=False)
            transaction.set_rollback(True)

    async with Connection(user=user) as connection:
        await sync_to_async(change)()
        await connection.assert_closed(4503)


# Rooms


async def test_server_subscribes_and_unsubscribes_a_connection(helpers, user):
    async with Connection(user=user) as connection:
        await helpers.subscribe(connection.connection_id, "system:broadcast")
        joined = await connection.receive()
        expected = {"room": "system:broadcast", "success": True}
        assert_envelope(joined, type="subscribed", payload=expected)
        await helpers.send_to_room("system:broadcast", "hello")
        assert await connection.types_so_far() == ["hello"]
        await helpers.unsubscribe(connection.connection_id, "system:broadcast", reason="closed")
        left = await connection.receive()
        assert_envelope(left, type="unsubscribed", payload={**expected, "reason": "closed"})
        await helpers.send_to_room("system:broadcast", "hello")
        assert await connection.so_far() == []
        refusal = await connection.ask("message", {"room": "system:broadcast", "content": 1})
        assert refusal["payload"]["code"] == "NOT_IN_ROOM"


@pytest.mark.parametrize(("reason", "sent"), [(None, ""), ("no\ud800", "no?"), (5, "5")])
async def test_reason_is_a_text_that_can_be_sent(far, reason, sent):
    await pm_realtime.adisconnect_connection("c", reason=reason)
    if reason is not None:
        await pm_realtime.aunsubscribe("c", "lobby", reason=reason)
    assert {message["arguments"]["reason"] for _, message in far.sent} == {sent}


async def test_unsubscribe_without_a_reason_sends_none(helpers, user):
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        await helpers.unsubscribe(connection.connection_id, "lobby")
        left = await connection.receive()
        assert_envelope(left, type="unsubscribed", payload={"room": "lobby", "success": True})


async def test_repeated_subscribe_and_unsubscribe_send_one_reply(helpers, user):
    async with Connection(user=user) as connection:
        for _ in range(2):
            await helpers.subscribe(connection.connection_id, "lobby")
        await connection.assert_push("subscribed")
        for _ in range(2):
            await helpers.unsubscribe(connection.connection_id, "lobby")
        await connection.assert_push("unsubscribed")
        assert await connection.so_far() == []


async def test_server_cannot_subscribe_to_a_full_room(helpers, configure):
    configure(ROOMS={"one": {"public": True, "max_connections": 1}})
    async with Connection() as inside, Connection() as outside:
        await inside.subscribe("one")
        await helpers.subscribe(outside.connection_id, "one")
        await helpers.send_to_room("one", "hello")
        assert await inside.types_so_far() == ["hello"]
        assert await outside.so_far() == []
        assert (await aget_stats())["roomStats"] == {"one": 1}


async def test_name_that_just_misses_a_route_is_refused_with_a_sentence(helpers, configure):
    configure(ROOMS={"repo:<slug:name>": {"public": True}, "repo:listed name": {}})
    async with Connection() as connection:
        for room in ("repo:über", "repo:", "repo:a b", "repo:a/b"):
            refusal = await connection.ask("subscribe", {"room": room}, id="a")
            assert_refusal(refusal, "FORBIDDEN", id="a", room=room)
            for call in (
                lambda: helpers.send_to_room(room, "news"),  # noqa: B023
                lambda: helpers.subscribe(connection.connection_id, room),  # noqa: B023
                lambda: helpers.unsubscribe(connection.connection_id, room),  # noqa: B023
                lambda: helpers.refresh_room(room),  # noqa: B023
            ):
                with pytest.raises(ValueError, match="begins like 'repo:<slug:name>' in ROOMS"):
                    await call()
        for room in ("repo:name", "repo:listed name", "repository"):
            await helpers.send_to_room(room, "news")
            await helpers.refresh_room(room)
        assert await connection.so_far() == []
