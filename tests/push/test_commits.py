"""Pushes in transactions that Django's ``on_commit`` treats as special ones."""

import asyncio
import contextlib

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase

import pm_realtime
from pm_realtime.testing import RealtimeCommunicator, capture_pushes
from tests.site.models import Note


def types_of(pushes):
    return [push.type for push in pushes]


def save(type, *, ends_well=True, **options):
    """Push in a block, as a view does, and after it."""
    with contextlib.suppress(LookupError), transaction.atomic():
        Note.objects.create(text=type)
        pm_realtime.broadcast(f"{type} saved", **options)
        if not ends_well:
            raise LookupError
    pm_realtime.broadcast(f"{type} answered")


def save_only(type):
    with transaction.atomic():
        pm_realtime.broadcast(type)


class PushesInTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.user = get_user_model().objects.create_user("tess")

    def test_transaction_of_the_test_does_not_count_as_open(self):
        with capture_pushes() as pushes:
            pm_realtime.broadcast("hello")
            assert types_of(pushes) == ["hello"]
            pm_realtime.refresh_user(self.user)

    def test_push_of_an_inner_block_waits_for_the_end_of_the_block(self):
        with capture_pushes() as pushes:
            with transaction.atomic():
                pm_realtime.broadcast("saved")
                with transaction.atomic():
                    pm_realtime.broadcast("inner")
                assert pushes == []
                assert len(pushes) == 0
            assert types_of(pushes) == ["saved", "inner"]
        assert types_of(pushes) == ["saved", "inner"]

    def test_push_of_an_inner_block_that_is_rolled_back_is_dropped(self):
        with capture_pushes() as pushes:
            save("one")
            save("two", ends_well=False)
            with transaction.atomic():
                save("three")
                save("four", ends_well=False)
        assert types_of(pushes) == [
            *("one saved", "one answered", "two answered"),
            *("three saved", "three answered", "four answered"),
        ]

    def test_pushes_can_be_looked_at_after_the_block_in_every_way(self):
        for look in (
            lambda pushes: pushes[0].type,
            lambda pushes: next(iter(pushes)).type,
            lambda pushes: pushes.to_all()[0].type,
            lambda pushes: pushes.copy()[0].type,
            lambda pushes: pushes[:1][0].type,
            lambda pushes: pushes and pushes[-1].type,
            lambda pushes: next(reversed(pushes)).type,
        ):
            with capture_pushes() as pushes:
                with transaction.atomic():
                    pm_realtime.broadcast("saved")
                assert look(pushes) == "saved"

    def test_each_push_is_captured_once_beside_captured_callbacks(self):
        with capture_pushes() as pushes:
            with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
                pm_realtime.broadcast("one")
                assert pushes == []
            assert types_of(pushes) == ["one"]
        with self.captureOnCommitCallbacks(execute=True), capture_pushes() as pushes:
            with transaction.atomic():
                pm_realtime.broadcast("two")
            assert types_of(pushes) == ["two"]
        assert types_of(pushes) == ["two"]

    def test_push_before_the_captured_part_is_not_captured(self):
        with transaction.atomic():
            pm_realtime.broadcast("before")
        with capture_pushes() as pushes:
            save("in it")
        assert types_of(pushes) == ["in it saved", "in it answered"]

    def test_push_of_a_block_that_breaks_the_whole_test_is_dropped(self):
        with capture_pushes() as pushes:
            with contextlib.suppress(LookupError), transaction.atomic(savepoint=False):
                pm_realtime.broadcast("lost")
                raise LookupError
            assert pushes == []
        connection.set_rollback(False)

    def test_async_push_below_an_inner_block_waits_for_its_end(self):
        with capture_pushes() as pushes:
            async_to_sync(pm_realtime.abroadcast)("at once")
            with transaction.atomic():
                async_to_sync(pm_realtime.abroadcast)("saved")
                assert types_of(pushes) == ["at once"]
            assert types_of(pushes) == ["at once", "saved"]

    async def test_pushes_of_threads_and_async_code_are_captured(self):
        with capture_pushes() as pushes:
            await sync_to_async(save)("one")
            assert types_of(pushes) == ["one saved", "one answered"]
            await pm_realtime.abroadcast("two")
            await sync_to_async(save)("three", ends_well=False)
        assert types_of(pushes) == ["one saved", "one answered", "two", "three answered"]

    async def test_pushes_arrive_at_a_connection_of_the_test(self):
        async with RealtimeCommunicator(user=self.user) as communicator:
            await pm_realtime.asend_to_user(self.user, "at once")
            await communicator.assert_push("at once")
            await sync_to_async(save)("one")
            assert (await communicator.receive())["type"] == "one saved"
            assert (await communicator.receive())["type"] == "one answered"
            await sync_to_async(save)("two", ends_well=False)
            await communicator.assert_push("two answered")
            await sync_to_async(save_only)("three")
            assert not await communicator.receive_nothing(timeout=5)


@pytest.mark.django_db
def test_fixture_of_pytest_django_is_a_test_case_too():
    with capture_pushes() as pushes:
        pm_realtime.broadcast("at once")
        save("one")
    assert types_of(pushes) == ["at once", "one saved", "one answered"]


@pytest.fixture
def other_database(django_db_setup, django_db_blocker, tmp_path):
    """A second database, called ``other``."""
    connections.settings["other"] = {
        **connections.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "other.sqlite3"),
        "OPTIONS": {},
    }
    with django_db_blocker.unblock():
        yield
        connections["other"].close()
    del connections["other"], connections.settings["other"]


PAIRS = [("default", "other"), ("other", "default")]


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_push_waits_for_the_commits_of_all_databases(other_database, outer, inner):
    with capture_pushes() as pushes:
        with transaction.atomic(outer):
            with transaction.atomic(inner):
                pm_realtime.broadcast("one")
            pm_realtime.broadcast("two")
            assert pushes == []
        assert types_of(pushes) == ["one", "two"]
        with contextlib.suppress(LookupError), transaction.atomic(outer):
            with transaction.atomic(inner):
                pm_realtime.broadcast("lost")
            raise LookupError
    assert types_of(pushes) == ["one", "two"]


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_rollback_in_one_of_two_databases_drops_the_push(other_database, outer, inner):
    with (
        capture_pushes() as pushes,
        transaction.atomic(outer),
        contextlib.suppress(LookupError),
        transaction.atomic(inner),
    ):
        pm_realtime.broadcast("lost")
        raise LookupError
    assert pushes == []


@pytest.mark.parametrize("broken", ["default", "other"])
@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_rolled_back_savepoint_drops_the_push(other_database, outer, inner, broken):
    with capture_pushes() as pushes, transaction.atomic(outer), transaction.atomic(inner):
        with contextlib.suppress(LookupError), transaction.atomic(broken):
            pm_realtime.broadcast("lost")
            raise LookupError
        pm_realtime.broadcast("saved")
    assert types_of(pushes) == ["saved"]


class PushesInManualTransactions(TransactionTestCase):
    def setUp(self):
        self.addCleanup(transaction.set_autocommit, True)
        self.addCleanup(transaction.rollback)
        Note.objects.create(text="opens the connection")
        transaction.set_autocommit(False)

    def test_push_is_refused_as_nothing_tells_of_the_commit(self):
        Note.objects.create(text="lost")
        with capture_pushes() as pushes:
            for push in (
                lambda: pm_realtime.broadcast("hello"),
                lambda: pm_realtime.refresh_room("lobby"),
                lambda: async_to_sync(pm_realtime.abroadcast)("hello"),
            ):
                with pytest.raises(
                    transaction.TransactionManagementError, match="on_commit=False to push at once"
                ):
                    push()
            assert pushes == []
            pm_realtime.broadcast("hello", on_commit=False)
            assert types_of(pushes) == ["hello"]

    def test_atomic_block_waits_for_the_manual_commit(self):
        with capture_pushes() as pushes:
            with transaction.atomic():
                pm_realtime.broadcast("hello")
            assert pushes == []
            transaction.commit()
            transaction.set_autocommit(True)
            assert types_of(pushes) == ["hello"]

    def test_saving_a_user_raises_nothing(self):
        get_user_model().objects.create_user("tess").save()

    def test_push_from_another_thread_is_not_refused(self):
        with capture_pushes() as pushes:
            asyncio.run(asyncio.to_thread(pm_realtime.broadcast, "hello"))
        assert types_of(pushes) == ["hello"]
