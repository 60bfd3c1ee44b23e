"""Commands of the site in Django's own ``TestCase``, which never commits."""

import pytest
from django.contrib.auth import get_user_model
from django.test import TestCase

from pm_realtime import command, send_to_user
from tests.site.models import Note
from tests.support.helpers import Connection


@pytest.mark.usefixtures("no_commands")
class CommandsInATestCase(TestCase):
    def setUp(self):
        self.user = get_user_model().objects.create_user("tess")
        Note.objects.create(text="of the test")

    async def test_command_sees_what_the_test_has_saved_and_is_rolled_back_alone(self):
        @command("save")
        def save(request, payload: str) -> int:
            send_to_user(request.user, "saved", payload)
            Note.objects.create(text=payload)
            if payload == "bug":
                raise RuntimeError
            return Note.objects.count()

        @command("count")
        async def count(request) -> int:
            return await Note.objects.acount()

        async with Connection(user=self.user) as connection:
            assert (await connection.ask("save", "a"))["payload"] == 2
            await connection.ask("save", "bug")
            assert (await connection.ask("count"))["payload"] == 2
            pushes = [each for each in connection.received if each["type"] == "saved"]
            pushes += await connection.so_far()
            assert [push["payload"] for push in pushes] == ["a"]
