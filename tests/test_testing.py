"""The tools for the tests of a site."""

import asyncio
import copy
from contextlib import nullcontext

import channels.db
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import TestCase, override_settings

from pm_realtime import (
    adisconnect_user,
    aget_connection,
    aget_cursor,
    aget_history,
    ais_online,
    asend_to_room,
    asend_to_user,
    broadcast,
    disconnect_user,
    get_cursor,
    get_history,
    refresh_room,
    send_to_connection,
    send_to_role,
    send_to_room,
    send_to_user,
    subscribe,
)
from pm_realtime.hub import get_hub
from pm_realtime.layer import user_group
from pm_realtime.protocol import BATCH_SUBPROTOCOL
from pm_realtime.testing import RealtimeCommunicator, capture_pushes


class LoginGuard:
    """As the backend of django-axes, which comes first and finds no users."""

    def authenticate(self, request, **credentials):
        return None


async def test_user_is_logged_in_by_a_backend_that_finds_users(settings, user):
    settings.AUTHENTICATION_BACKENDS = [
        f"{__name__}.LoginGuard",
        "django.contrib.auth.backends.ModelBackend",
    ]
    async with RealtimeCommunicator(user=user) as connection:
        assert connection.connected["userId"] == str(user.pk)


async def test_logged_in_connection_joins_and_receives(editor):
    async with RealtimeCommunicator(user=editor) as connection:
        assert connection.connected["userId"] == str(editor.pk)
        await connection.subscribe("support")
        await asend_to_user(editor, "hello", {"a": 1})
        assert (await connection.assert_push("hello", payload={"a": 1}))["type"] == "hello"
        await connection.assert_nothing()


async def test_failed_assertion_names_expected_and_received(user):
    async with RealtimeCommunicator(user=user) as connection:
        id = await connection.command("subscribe", {"room": "support"})
        with pytest.raises(AssertionError, match="Expected 'subscribed' in reply"):
            await connection.assert_reply(id, "subscribed")
        id = await connection.command("subscribe", {"room": "support"})
        await connection.assert_error(id, "FORBIDDEN")


async def test_failed_assertion_is_the_error_of_its_test(user):
    with pytest.raises(AssertionError, match="Expected a 'never'"):
        async with RealtimeCommunicator(user=user) as connection:
            await connection.assert_push("never", timeout=0.05)


async def test_client_comes_back_after_a_push_that_did_not_arrive(user):
    async with RealtimeCommunicator(user=user) as connection:
        with pytest.raises(AssertionError, match="Expected a 'never'"):
            await connection.assert_push("never", timeout=0.05)
        await connection.drop()
        async with connection.recover() as again:
            assert again.recovered


def test_history_of_earlier_tests_is_forgotten_without_a_connection():
    send_to_room("orders", "paid", idempotency_key="paid-1")
    async_to_sync(RealtimeCommunicator.forget_history)()
    assert get_history("orders").messages == []
    send_to_room("orders", "paid", idempotency_key="paid-1")
    assert [each["type"] for each in get_history("orders").messages] == ["paid"]


def test_pushes_are_captured_by_target(user):
    with capture_pushes() as pushes:
        send_to_user(user, "one", {"n": 1})
        send_to_room("support", "two")
        send_to_role("admin", "three")
        broadcast("four")
    assert [push.type for push in pushes] == ["one", "two", "three", "four"]
    assert pushes.to_user(user)[0].payload == {"n": 1}
    assert pushes.to_room("support")[0].room == "support"
    assert [push.type for push in pushes.to_role("admin")] == ["three"]
    assert [push.type for push in pushes.to_all()] == ["four"]
    assert pushes.to_role("user") == []
    assert [push.to for push in pushes] == ["user", None, "role:admin", "all"]


def test_push_under_a_repeated_key_is_captured_once_in_a_block():
    for _ in range(2):
        with capture_pushes() as pushes:
            for payload in (1, 2):
                broadcast("paid", payload, idempotency_key="order 7")
            send_to_room("support", "paid", 3, idempotency_key="order 7")
        assert [push.payload for push in pushes] == [1, 3]


async def test_capture_has_the_history_of_its_block_alone(user):
    await asend_to_room("support", "before")
    before = await aget_cursor("support")
    with capture_pushes() as outer:
        await asend_to_room("support", "outer")
        with capture_pushes() as inner:
            start = await aget_cursor("support")
            await asend_to_room("support", "inner")
            history = await aget_history("support", since=start)
            assert [message["type"] for message in history.messages] == ["inner"]
        history = await aget_history("support")
        assert [message["type"] for message in history.messages] == ["outer"]
    assert [[push.type for push in each] for each in (outer, inner)] == [["outer"], ["inner"]]
    assert await aget_cursor("support") == before


async def test_open_connection_notices_nothing_of_a_block(user):
    async with RealtimeCommunicator(user=user) as connection:
        await asend_to_user(user, "before")
        with capture_pushes():
            await asend_to_user(user, "captured")
            await get_hub().follower.check([user_group(str(user.pk))])
        await asend_to_user(user, "after")
        assert [(await connection.receive())["type"] for _ in range(2)] == ["before", "after"]
        await connection.assert_nothing()


def test_control_messages_of_a_block_go_nowhere(user):
    with capture_pushes() as pushes:
        disconnect_user(user)
        refresh_room("support")
        subscribe("c", "support")
        send_to_connection("c", "hello")
    assert [push.type for push in pushes] == ["hello"]


def test_capture_neither_needs_nor_touches_redis(settings, user):
    layer = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}
    settings.CHANNEL_LAYERS = {"default": {**layer, "CONFIG": {"hosts": ["redis://localhost:1"]}}}
    with capture_pushes() as pushes:
        send_to_user(user, "one", idempotency_key="k")
        send_to_room("support", "two")
        disconnect_user(user)
        assert get_history("support").messages[0]["type"] == "two"
    assert [push.type for push in pushes] == ["one", "two"]


@pytest.mark.django_db
def test_captured_pushes_wait_for_the_commit(django_capture_on_commit_callbacks):
    with capture_pushes() as pushes:
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            send_to_room("support", "saved")
            assert pushes == []
        assert [push.type for push in pushes] == ["saved"]


def test_cleared_pushes_are_gone_for_every_target(user):
    with capture_pushes() as pushes:
        broadcast("one")
        pushes.clear()
        broadcast("two")
        send_to_user(user, "three")
        assert [push.type for push in pushes] == ["two", "three"]
        assert [push.type for push in pushes.to_all()] == ["two"]
        del pushes[0]
        assert pushes.to_all() == []
    assert pushes.to_user(user) == copy.copy(pushes) == copy.deepcopy(pushes) == pushes


class InATestCase(TestCase):
    """Django's own TestCase, which never commits."""

    @classmethod
    def setUpTestData(cls):
        # The attributes of the class are copies for each test.
        with capture_pushes() as cls.pushes:
            broadcast("set up")

    def test_pushes_of_the_set_up_are_kept(self):
        assert [push.type for push in self.pushes] == ["set up"]
        assert self.pushes.to_all() == self.pushes

    def setUp(self):
        self.user = get_user_model().objects.create_user("tess", first_name="Tess")

    async def test_connection_sees_uncommitted_data_of_the_test(self):
        async with RealtimeCommunicator(user=self.user) as connection:
            assert connection.connected["userId"] == str(self.user.pk)
            await connection.subscribe("project:2")
            await asend_to_user(self.user, "hello", on_commit=False)
            await connection.assert_push("hello")

    def test_history_has_the_pushes_of_a_block_that_was_left(self):
        for context in (nullcontext, capture_pushes):
            with context():
                before = get_cursor("support")
                with transaction.atomic():
                    send_to_room("support", "hello")
                    assert get_cursor("support") == before
                assert get_cursor("support") > before
                with transaction.atomic():
                    send_to_room("support", "again")
                found = get_history("support", since=before).messages
                assert [each["type"] for each in found] == ["hello", "again"]

    async def test_pushes_of_a_block_that_was_left_are_forgotten_too(self):
        async with RealtimeCommunicator(user=self.user) as connection:
            await sync_to_async(transaction.atomic(send_to_room))("support", "hello")
            await connection.forget_history()
            assert (await aget_history("support")).messages == []

    @override_settings(
        PM_REALTIME={"ROOMS": {"p:<int:pk>": {"authorize": "tests.site.rules.even_only_async"}}}
    )
    async def test_rule_sees_uncommitted_data_of_the_test(self):
        async with RealtimeCommunicator(user=self.user) as connection:
            await connection.subscribe("p:2")


async def test_connections_that_wait_at_once_restore_the_closing_of_databases(user):
    before = channels.db.close_old_connections
    async with RealtimeCommunicator(user=user) as one, RealtimeCommunicator(user=user) as two:
        for connection in (one, two):
            connection.waiting = asyncio.create_task(connection.receive())
            await asyncio.sleep(0)
        for connection in (one, two):
            await connection.command("ping")
            await connection.waiting
    assert channels.db.close_old_connections is before


async def test_envelopes_of_a_batch_are_read_one_by_one(settings, user):
    settings.PM_REALTIME = {"BATCH_WINDOW": 1000}
    async with RealtimeCommunicator(user=user, subprotocols=[BATCH_SUBPROTOCOL]) as connection:
        for number in range(4):
            await asend_to_user(user, "push", {"text": "Grüße", "n": number})
        await adisconnect_user(user)
        for number in range(2):
            await connection.assert_push("push", payload={"text": "Grüße", "n": number})
        with pytest.raises(AssertionError, match="Expected nothing"):
            await connection.assert_nothing()
        assert (await connection.receive())["payload"]["n"] == 3
        await connection.assert_closed(4503)


async def test_ids_of_commands_differ_between_connections(user):
    async with RealtimeCommunicator(user=user) as one, RealtimeCommunicator(user=user) as two:
        assert await one.command("ping") != await two.command("ping")


async def test_skipped_envelopes_are_in_the_record(user):
    async with RealtimeCommunicator(user=user) as connection:
        await asend_to_user(user, "first")
        await asend_to_user(user, "second")
        await connection.assert_push("second")
        types = [envelope["type"] for envelope in connection.received]
        assert types == ["connected", "first", "second"]


async def test_dropped_connection_ends_without_a_close(user):
    async with RealtimeCommunicator(user=user) as connection:
        assert await ais_online(user)
        await connection.drop()
        assert not await ais_online(user)


async def test_client_that_comes_back_is_in_its_rooms_with_its_session(editor):
    async with RealtimeCommunicator(user=editor) as connection:
        await connection.subscribe("support")
        await connection.subscribe("left")
        await connection.command("unsubscribe", {"room": "left"})
        await connection.assert_push("unsubscribed")
        await connection.drop()
        async with connection.recover() as again:
            assert again.connection_id != connection.connection_id
            assert again.connected["userId"] == str(editor.pk)
            assert await rooms_of(again) == ("support",)
            async with again.recover(user=None) as stranger:
                assert stranger.connected["userId"] is None
                assert await rooms_of(stranger) == ()


async def rooms_of(connection):
    found = await aget_connection(connection.connection_id)
    return found.rooms
