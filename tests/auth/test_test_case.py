"""In a ``TestCase`` all queries use the connection of the test, and nothing else closes it."""

import threading

from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings

from pm_realtime import arefresh_user
from pm_realtime.auth import Rechecker, set_rechecker
from pm_realtime.auth.recheck import recheck_identities
from pm_realtime.connection import RealtimeConsumer
from tests.support.helpers import Connection, cookie_of, eventually

User = get_user_model()
SWEEPING = {"SESSION_RECHECK_INTERVAL": 0.05}


class CountingRechecker(Rechecker):
    """Counts the rechecks that succeeded, and the threads that they ran in."""

    def __init__(self):
        self.count, self.threads = 0, set()
        super().__init__(recheck=self.count_recheck)

    def count_recheck(self, identities):
        results = recheck_identities(identities)
        self.count += 1
        self.threads.add(threading.get_ident())
        return results


class Cases:
    """The tests of each class run one after the other: a closed connection fails the next."""

    @classmethod
    def in_test(cls):
        return User.objects.get(username="ada")

    async def swept(self, count=3):
        """Return after some rechecks, none of which takes place while a frame is waited for."""
        rechecker = CountingRechecker()
        set_rechecker(rechecker)
        user = await sync_to_async(self.in_test)()
        headers = [(b"host", b"testserver"), await cookie_of(user)]
        connected = WebsocketCommunicator(RealtimeConsumer.as_asgi(), "/api/ws", headers=headers)
        assert (await connected.connect())[0]
        first = await connected.receive_json_from()
        assert first["payload"]["userId"] == str(user.pk)
        await eventually(lambda: rechecker.count >= count)
        assert rechecker.threads == {threading.main_thread().ident}
        await connected.disconnect()

    @override_settings(PM_REALTIME=SWEEPING)
    async def test_sweep(self):
        await self.swept()
        assert await User.objects.acount() == 1
        await Group.objects.acreate(name="editor")

    @override_settings(PM_REALTIME=SWEEPING)
    async def test_sweep_again(self):
        await self.swept()
        assert await User.objects.acount() == 1
        assert not await Group.objects.aexists()

    @override_settings(PM_REALTIME=SWEEPING)
    def test_sweep_of_a_sync_test(self):
        async_to_sync(self.swept)()
        assert User.objects.count() == 1

    async def test_requested_recheck(self):
        set_rechecker(rechecker := CountingRechecker())
        user = await sync_to_async(self.in_test)()
        async with Connection(user=user) as connected:
            await arefresh_user(user, on_commit=False)
            await eventually(lambda: rechecker.count)
            user.is_active = False
            await user.asave()
            await arefresh_user(user, on_commit=False)
            await connected.assert_closed(4504)
        assert await User.objects.acount() == 1

    async def test_rule_and_receiver_use_the_database(self):
        user = await sync_to_async(self.in_test)()
        rooms = {"lobby": {"authorize": "tests.site.rules.is_known"}}
        with override_settings(PM_REALTIME={"ROOMS": rooms}):
            async with Connection(user=user) as connected:
                await connected.subscribe("lobby")
        assert await User.objects.acount() == 1


class TestCaseTests(Cases, TestCase):
    @classmethod
    def setUpTestData(cls):
        User.objects.create_user(username="ada")

    def tearDown(self):
        assert connection.connection is not None
        assert connection.in_atomic_block


class TransactionTestCaseTests(Cases, TransactionTestCase):
    def setUp(self):
        User.objects.create_user(username="ada")

    @override_settings(PM_REALTIME=SWEEPING)
    def test_sweep_inside_a_transaction_of_the_caller(self):
        with transaction.atomic():
            Group.objects.create(name="kept")
            async_to_sync(self.swept)()
            assert Group.objects.count() == 1
        assert Group.objects.count() == 1

    @override_settings(PM_REALTIME=SWEEPING)
    def test_sweep_without_autocommit(self):
        transaction.set_autocommit(False)
        try:
            Group.objects.create(name="dropped")
            async_to_sync(self.swept)()
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        assert not Group.objects.exists()
