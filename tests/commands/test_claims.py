"""A command with an id is carried out once, however often it comes."""

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async

from pm_realtime import CommandError, command
from pm_realtime.backends import MemoryResults, get_backend
from pm_realtime.exceptions import BackendError
from tests.site.models import Note
from tests.support.commands import lose_role
from tests.support.helpers import Connection, assert_envelope, assert_refusal, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing", "no_commands", "transactional_db")


@pytest.fixture
def calls():
    """The payloads of the calls of the test's functions."""
    return []


@pytest.fixture
def count(calls):
    """A command that returns how often it was called."""

    @command("count", public=True)
    def count(request, payload) -> int:
        calls.append(payload)
        return len(calls)


class LostResults(MemoryResults):
    """Is away for the methods named in ``away``."""

    away = frozenset()
    #: Whether another process may have all that was claimed.
    is_taken_over = False

    def watch(self, *args):
        return lambda: self.is_taken_over

    async def claim(self, *args):
        self._check("claim")
        return await super().claim(*args)

    async def keep(self, *args):
        self._check("keep")
        await super().keep(*args)

    async def release(self, *args):
        self._check("release")
        await super().release(*args)

    def _check(self, method):
        if method in self.away:
            raise BackendError("away")


@pytest.fixture
def results(memory_layer, calls):
    """The results of commands, which a test may have be away."""
    vars(get_backend())["results"] = results = LostResults()
    yield results
    vars(get_backend()).pop("results", None)


async def test_command_that_comes_again_gets_the_first_result(user, count, calls):
    async with Connection(user=user) as connection:
        first = await connection.ask("count", "x", id="a")
        second = await connection.ask("count", "x", id="a")
        assert_envelope(first, type="result", id="a", payload=1)
        assert_envelope(second, type="result", id="a", payload=1)
        await connection.drop()
        async with connection.recover() as again:
            third = await again.ask("count", "x", id="a")
            assert_envelope(third, type="result", id="a", payload=1)
    assert calls == ["x"]


async def test_other_id_payload_or_user_is_another_command(user, editor, count, calls):
    async with Connection(user=user) as connection, Connection(user=editor) as other:
        answers = [
            await connection.ask("count", "x", id="a"),
            await connection.ask("count", "x", id="b"),
            await connection.ask("count", "y", id="a"),
            await other.ask("count", "x", id="a"),
        ]
    assert [answer["payload"] for answer in answers] == [1, 2, 3, 4]


async def test_ids_of_visitors_count_for_each_client_unless_they_are_unique(count):
    unique = "0123456789abcdef0123456789abcdef"
    async with Connection() as connection, Connection() as other:
        assert (await connection.ask("count", id="1"))["payload"] == 1
        assert (await other.ask("count", id="1"))["payload"] == 2
        assert (await connection.ask("count", id=unique))["payload"] == 3
        assert (await other.ask("count", id=unique))["payload"] == 3


async def test_command_that_comes_again_while_it_runs_waits_for_its_result(user, calls):
    may_end = threading.Event()

    @command("count")
    def count(request) -> int:
        calls.append(1)
        may_end.wait(10)
        return len(calls)

    async with Connection(user=user) as connection:
        await connection.command("count", id="a")
        await eventually(lambda: calls)
        await connection.drop()
        async with connection.recover() as again:
            await again.command("count", id="a")
            assert await again.is_alive()
            may_end.set()
            await again.assert_reply("a", "result", 1)
    assert calls == [1]


async def test_waiting_for_the_result_ends_after_the_timeout(user, calls):
    may_end = asyncio.Event()

    @command("count", timeout=0.2)
    async def count(request):
        calls.append(1)
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                calls.append("cancelled")

    async with Connection(user=user) as connection:
        for _ in range(2):
            await connection.command("count", id="a")
        for _ in range(2):
            await connection.assert_error("a", "TIMEOUT")
        may_end.set()
    assert calls == [1, "cancelled"]


async def test_refusals_and_errors_are_not_remembered(user, calls):
    errors = [CommandError("NO", "Try another time."), RuntimeError("a bug")]

    @command("count")
    def count(request) -> int:
        calls.append(1)
        if errors:
            raise errors.pop(0)
        return len(calls)

    async with Connection(user=user) as connection:
        assert_refusal(await connection.ask("count", id="a"), "NO", id="a")
        assert_refusal(await connection.ask("count", id="a"), "INTERNAL_ERROR", id="a")
        for _ in range(2):
            answer = await connection.ask("count", id="a")
            assert_envelope(answer, type="result", id="a", payload=3)


async def test_command_that_was_rolled_back_after_its_time_is_carried_out_again(user, calls):
    may_end = threading.Event()

    @command("count", timeout=0.05)
    def count(request) -> int:
        calls.append(1)
        if len(calls) == 1:
            may_end.wait(10)
        return len(calls)

    async with Connection(user=user) as connection:
        assert_refusal(await connection.ask("count", id="a"), "TIMEOUT", id="a")
        may_end.set()
        while (answer := await connection.ask("count", id="a"))["type"] == "error":
            assert_refusal(answer, "TIMEOUT", id="a")
        assert answer["payload"] == len(calls) > 1


async def test_command_that_was_carried_out_after_its_time_gives_its_result(user, calls):
    """Without a transaction nothing could be undone."""
    may_end = threading.Event()

    @command("count", timeout=0.05, atomic=False)
    def count(request) -> int:
        calls.append(1)
        may_end.wait(10)
        return len(calls)

    async with Connection(user=user) as connection:
        assert_refusal(await connection.ask("count", id="a"), "TIMEOUT", id="a")
        assert_refusal(await connection.ask("count", id="a"), "TIMEOUT", id="a")
        may_end.set()
        while (answer := await connection.ask("count", id="a"))["type"] == "error":
            assert_refusal(answer, "TIMEOUT", id="a")
        assert answer["payload"] == 1
    assert calls == [1]


async def test_result_is_not_given_to_a_user_who_lost_the_right_to_it(make_user, calls):
    @command("count", min_role="master")
    def count(request) -> int:
        calls.append(1)
        return len(calls)

    user = await sync_to_async(make_user)("master")
    async with Connection(user=user) as connection:
        assert (await connection.ask("count", id="a"))["payload"] == 1
        await lose_role(user)
        assert_refusal(await connection.ask("count", id="a"), "FORBIDDEN", id="a")
    assert calls == [1]


async def test_nothing_is_carried_out_if_nobody_can_tell_whether_it_was(
    user, count, calls, results
):
    async with Connection(user=user) as connection:
        results.away = {"claim"}
        assert_refusal(await connection.ask("count", id="a"), "INTERNAL_ERROR", id="a")
        assert calls == []
        results.away = ()
        assert (await connection.ask("count", id="a"))["payload"] == 1


async def test_result_that_cannot_be_kept_is_answered_and_kept_later(user, count, calls, results):
    async with Connection(user=user) as connection:
        results.away = {"keep"}
        assert (await connection.ask("count", "x", id="a"))["payload"] == 1
        await connection.command("count", "x", id="a")
        results.away = ()
        await connection.assert_reply("a", "result", 1)
    assert calls == ["x"]


async def test_process_that_was_frozen_does_not_commit_what_another_may_have_done(user, results):
    @command("save")
    def save(request, payload):
        Note.objects.create(text=payload)

    async with Connection(user=user) as connection:
        results.is_taken_over = True
        refusal = await connection.ask("save", "x", id="a")
        assert_refusal(refusal, "TIMEOUT", id="a")
        results.is_taken_over = False
        assert (await connection.ask("save", "x", id="a"))["type"] == "result"
    assert await Note.objects.acount() == 1


async def test_command_without_an_id_is_carried_out_each_time(user, count, calls):
    async with Connection(user=user) as connection:
        for _ in range(2):
            await connection.send_frame('{"type": "count", "timestamp": 1}')
        await eventually(lambda: len(calls) == 2)
