"""``RealtimeCommunicator`` breaks and comes back, as the tests of a site use it."""

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.test import TestCase

from pm_realtime import (
    abroadcast,
    aget_cursor,
    asend_to_role,
    asend_to_room,
    asend_to_user,
    broadcast,
    send_to_room,
)
from pm_realtime.testing import RealtimeCommunicator
from tests.support.valkey import pubsub_on

ROOM = "project:42"


async def push_to_all_streams(user, number):
    await asend_to_user(user, "push", {"n": number, "to": "user"})
    await asend_to_role("user", "push", {"n": number, "to": "role"})
    await abroadcast("push", {"n": number, "to": "all"})
    await asend_to_room(ROOM, "push", {"n": number, "to": "room"})


async def read_until(connection, **payload):
    """Read up to the push with ``payload``."""
    while (await connection.receive()).get("payload") != payload:
        pass


def of_room(connection):
    return [
        each["payload"]["n"]
        for each in connection.received
        if each["type"] == "push" and each.get("room") == ROOM
    ]


@pytest.mark.parametrize("before", [0, 1])
async def test_everything_that_was_missed_comes_once_and_in_order(user, before):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        for number in range(before):
            await push_to_all_streams(user, number)
            await read_until(connection, n=number, to="room")
        await connection.drop()
        for number in (1, 2, 3):
            await push_to_all_streams(user, number)
        async with connection.recover() as again:
            assert again.recovered is True
            await push_to_all_streams(user, 4)
            await read_until(again, n=4, to="room")
            by_target = {}
            while not await again.receive_nothing():
                await again.receive()
            for envelope in again.received:
                if envelope["type"] == "push":
                    payload = envelope["payload"]
                    by_target.setdefault(payload["to"], []).append(payload["n"])
                    assert envelope.get("replayed", False) is (payload["n"] < 4)
            assert by_target == {to: [1, 2, 3, 4] for to in ("user", "role", "all", "room")}


async def test_what_was_not_read_before_the_break_comes_again(user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        for number in (1, 2, 3):
            await asend_to_room(ROOM, "push", {"n": number})
        await connection.assert_push("push", {"n": 1})
        await connection.drop()
        assert await connection.receive_nothing()
        async with connection.recover() as again:
            for number in (2, 3):
                await again.assert_push("push", {"n": number})
            assert of_room(again) == [2, 3]


async def test_client_that_breaks_twice_goes_on_where_it_was(user):
    connection = RealtimeCommunicator(user=user)
    for number in range(4):
        async with connection:
            if number == 0:
                await connection.subscribe(ROOM)
            else:
                await connection.assert_push("push", {"n": number})
                assert of_room(connection) == [number]
            await connection.drop()
        await asend_to_room(ROOM, "push", {"n": number + 1})
        connection = connection.recover()


async def test_forgotten_history_is_a_gap_once_for_each_stream(user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await push_to_all_streams(user, 1)
        await read_until(connection, n=1, to="room")
        await connection.drop()
        await connection.forget_history()
        async with connection.recover() as again:
            assert again.recovered is False
            await asend_to_room(ROOM, "push", {"n": 2})
            await read_until(again, n=2)
            gaps = [
                each.get("room") or each["to"] for each in again.received if each["type"] == "gap"
            ]
            assert sorted(gaps) == ["all", ROOM, "role:user", "user"]
            assert of_room(again) == [2]


async def test_history_is_forgotten_also_while_nothing_has_been_sent(user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.drop()
        await connection.forget_history()
        async with connection.recover() as again:
            assert again.recovered is False


async def test_period_is_over_for_what_was_missed(user, configure):
    configure(RECOVERY_PERIOD=0.05)
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.drop()
        await asend_to_room(ROOM, "push", {"n": 1})
        configure(RECOVERY_PERIOD=0.000001)
        async with connection.recover() as again:
            assert again.recovered is False
            await again.assert_push("gap")


async def test_another_user_in_the_same_browser_gets_nothing(user, editor):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.drop()
        await asend_to_user(user, "secret")
        async with connection.recover(user=editor) as other:
            assert other.connected["userId"] == str(editor.pk)
            await other.assert_nothing()


async def test_excluded_message_of_its_own_does_not_come_back(user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.drop()
        await asend_to_room(ROOM, "push", {"n": 1}, exclude=connection.connection_id)
        await asend_to_room(ROOM, "push", {"n": 2})
        async with connection.recover() as again:
            await again.assert_push("push", {"n": 2})
            assert of_room(again) == [2]


async def test_client_that_comes_back_before_the_server_has_noticed(user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await asend_to_room(ROOM, "push", {"n": 1})
        async with connection.recover() as again:
            await again.assert_push("push", {"n": 1})


async def test_subscribe_with_the_last_messages_or_since_a_cursor(user):
    cursor = await aget_cursor(ROOM)
    for number in (1, 2, 3):
        await asend_to_room(ROOM, "push", {"n": number})
    async with RealtimeCommunicator(user=user) as connection:
        reply = await connection.subscribe(ROOM, last=2)
        assert "recovered" not in reply["payload"]
        await read_until(connection, n=3)
        assert of_room(connection) == [2, 3]
    async with RealtimeCommunicator(user=user) as connection:
        reply = await connection.subscribe(ROOM, since=cursor)
        assert reply["payload"]["recovered"] is True
        await read_until(connection, n=3)
        assert of_room(connection) == [1, 2, 3]


async def test_room_that_keeps_nothing_loses_what_was_missed(user, configure):
    configure(ROOMS={ROOM: {"history": 0}})
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.drop()
        await asend_to_room(ROOM, "push", {"n": 1})
        async with connection.recover() as again:
            await asend_to_room(ROOM, "push", {"n": 2})
            await again.assert_push("push", {"n": 2})
            assert of_room(again) == [2]


async def test_open_connection_is_told_of_forgotten_history(user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.forget_history()
        await asend_to_room(ROOM, "push", {"n": 1})
        gap = await connection.assert_push("gap")
        assert gap["room"] == ROOM
        await connection.assert_push("push", {"n": 1})


async def test_break_and_forgotten_history_on_redis(user, valkey, settings):
    settings.CHANNEL_LAYERS = pubsub_on(valkey)
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.drop()
        await asend_to_room(ROOM, "push", {"n": 1})
        async with connection.recover() as again:
            assert again.recovered is True
            await again.assert_push("push", {"n": 1})
            await again.drop()
            await again.forget_history()
            async with again.recover() as third:
                assert third.recovered is False
                await third.assert_push("gap")


class InATestCase(TestCase):
    """Django's own TestCase, which never commits."""

    def setUp(self):
        self.user = get_user_model().objects.create_user("tess")

    async def test_break_loses_nothing(self):
        async with RealtimeCommunicator(user=self.user) as connection:
            await connection.subscribe(ROOM)
            await connection.drop()
            await asend_to_room(ROOM, "saved", {"n": 1})
            await asend_to_user(self.user, "hello")
            async with connection.recover() as again:
                assert again.recovered is True
                await again.assert_push("hello")
                await again.assert_push("saved", {"n": 1})

    async def test_restart_is_a_gap(self):
        async with RealtimeCommunicator(user=self.user) as connection:
            await connection.subscribe(ROOM)
            await connection.drop()
            await connection.forget_history()
            async with connection.recover() as again:
                assert again.recovered is False
                await again.assert_push("gap")


def test_pushes_of_sync_code_are_missed_too(user, transactional_db):
    async def run():
        async with RealtimeCommunicator(user=user) as connection:
            await connection.subscribe(ROOM)
            await connection.drop()
            await sync_to_async(push)()
            async with connection.recover() as again:
                await again.assert_push("one")
                await again.assert_push("two")

    def push():
        broadcast("one")
        send_to_room(ROOM, "two")

    async_to_sync(run)()
