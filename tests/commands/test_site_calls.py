"""Transactions, pushes and timeouts of commands of the site."""

import asyncio
import contextlib
import threading
import time

import pytest
from django.db import connections, transaction

from pm_realtime import CommandError, asend_to_user, command, send_to_user
from tests.site.models import Note
from tests.support.helpers import Connection, assert_envelope, assert_refusal, errors_of, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing", "no_commands")


def texts():
    return sorted(Note.objects.values_list("text", flat=True))


def is_in_transaction():
    return transaction.get_connection().in_atomic_block


async def assert_saved_and_answered(connection):
    """``save`` is answered, and its push arrives: over a layer of other processes maybe later."""
    id = await connection.command("save", "a")
    found = [await connection.receive() for _ in range(2)]
    assert sorted((each["type"], each.get("id")) for each in found) == [
        ("result", id),
        ("saved", None),
    ]


# Transactions


async def test_sync_command_is_committed_before_its_pushes_and_its_answer(user):
    @command("save")
    def save(request, payload: str):
        assert is_in_transaction()
        send_to_user(request.user, "saved", payload)
        Note.objects.create(text=payload)

    async with Connection(user=user) as connection:
        await assert_saved_and_answered(connection)
    assert await asyncio.to_thread(texts) == ["a"]


@pytest.mark.parametrize("error", [CommandError("NO", "Not this one."), RuntimeError("a bug")])
async def test_command_that_fails_is_rolled_back_and_pushes_nothing(user, error):
    @command("save")
    def save(request):
        Note.objects.create(text="a")
        send_to_user(request.user, "saved")
        raise error

    async with Connection(user=user) as connection:
        assert (await connection.ask("save"))["type"] == "error"
        assert await connection.so_far() == []
    assert await asyncio.to_thread(texts) == []


async def test_result_of_another_type_rolls_back(user):
    @command("save")
    def save(request) -> int:
        Note.objects.create(text="a")
        send_to_user(request.user, "saved")
        return "no number"

    async with Connection(user=user) as connection:
        assert_refusal(await connection.ask("save", id="a"), "INTERNAL_ERROR", id="a")
        assert await connection.so_far() == []
    assert await asyncio.to_thread(texts) == []


async def test_result_that_no_frame_can_hold_rolls_back(user, configure):
    configure(MAX_QUEUE_BYTES=10_000)

    @command("save")
    def save(request, payload: str) -> str:
        Note.objects.create(text=payload)
        return payload * 6_000

    async with Connection(user=user) as connection:
        assert_refusal(await connection.ask("save", "é", id="a"), "INTERNAL_ERROR", id="a")
        assert (await connection.ask("save", "e", id="b"))["payload"] == "e" * 6_000
    assert await asyncio.to_thread(texts) == ["e"]


@pytest.mark.parametrize("end", [connections.close_all, lambda: transaction.atomic().__enter__()])
async def test_function_that_prevents_the_commit_is_not_answered_as_if_it_had_saved(user, end):
    @command("save")
    def save(request):
        Note.objects.create(text="a")
        end()

    async with Connection(user=user) as connection:
        assert_refusal(await connection.ask("save", id="a"), "INTERNAL_ERROR", id="a")
    assert await asyncio.to_thread(texts) == []


async def test_without_atomic_there_is_no_transaction(user):
    @command("save", atomic=False)
    def save(request):
        assert not is_in_transaction()
        Note.objects.create(text="a")
        raise CommandError("NO", "Not this one.")

    async with Connection(user=user) as connection:
        assert_refusal(await connection.ask("save", id="a"), "NO", id="a")
    assert await asyncio.to_thread(texts) == ["a"]


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
async def test_callback_that_fails_after_the_commit_undoes_nothing(user, caplog, error):
    def fail():
        raise error

    @command("save")
    def save(request, payload: str) -> str:
        Note.objects.create(text=payload)
        transaction.on_commit(fail)
        return payload

    async with Connection(user=user) as connection:
        for _ in range(2):
            answer = await connection.ask("save", "a", id="a")
            assert_envelope(answer, type="result", id="a", payload="a")
    assert await asyncio.to_thread(texts) == ["a"]
    assert len(errors_of(caplog)) == 1


async def test_async_command_uses_the_orm_in_the_loop(user):
    @command("save")
    async def save(request, payload: str) -> int:
        assert threading.current_thread() is threading.main_thread()
        note = await Note.objects.acreate(text=payload)
        await asend_to_user(request.user, "saved", payload)
        return note.pk

    async with Connection(user=user) as connection:
        await assert_saved_and_answered(connection)
    assert await asyncio.to_thread(texts) == ["a"]


async def test_site_without_a_database_has_no_transactions(monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ENGINE", "django.db.backends.dummy")

    @command("vote", public=True)
    def vote(request, payload: int) -> int:
        return payload

    async with Connection() as connection:
        answer = await connection.ask("vote", 5, id="a")
        assert_envelope(answer, type="result", id="a", payload=5)


# Timeouts


async def test_command_that_takes_too_long_is_rolled_back(user, caplog):
    may_end, has_ended = threading.Event(), threading.Event()

    @command("save", timeout=0.05)
    def save(request):
        try:
            Note.objects.create(text="late")
            send_to_user(request.user, "saved")
            may_end.wait(10)
        finally:
            has_ended.set()

    async with Connection(user=user) as connection:
        refusal = await connection.ask("save", id="a")
        assert_refusal(refusal, "TIMEOUT", id="a")
        assert "0.05 s" in refusal["payload"]["message"]
        may_end.set()
        await asyncio.to_thread(has_ended.wait, 10)
        # The next one gets the lock of the database after the end of the transaction.
        await Note.objects.acreate(text="next")
        assert await connection.so_far() == []
    assert await asyncio.to_thread(texts) == ["next"]
    assert "The command save timed out: save took longer than 0.05 s. Times: 1" in caplog.messages


async def test_async_command_that_takes_too_long_is_cancelled(user):
    cancelled = asyncio.Event()

    @command("wait", timeout=0.05)
    async def wait(request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with Connection(user=user) as connection:
        assert_refusal(await connection.ask("wait", id="a"), "TIMEOUT", id="a")
        await asyncio.wait_for(cancelled.wait(), 10)


async def test_async_command_that_takes_no_cancellation_is_answered_all_the_same(user):
    may_end = asyncio.Event()

    @command("wait", timeout=0.05)
    async def wait(request):
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    async with Connection(user=user) as connection:
        assert_refusal(await connection.ask("wait", id="a"), "TIMEOUT", id="a")
        assert await connection.is_alive()
        may_end.set()


async def test_waiting_for_a_free_call_counts_as_time(user, editor, configure):
    """32 calls of one function run at once: one that is stuck leaves threads to the others."""
    configure(RATE_LIMIT=None)
    may_end, begun = threading.Event(), []

    @command("stuck", timeout=0.3)
    def stuck(request):
        begun.append(1)
        may_end.wait(10)

    @command("other")
    def other(request) -> str:
        return "done"

    async with Connection(user=user) as connection, Connection(user=editor) as free:
        for _ in range(40):
            await connection.command("stuck")
        await eventually(lambda: len(begun) == 32)
        assert (await free.ask("other"))["payload"] == "done"
        answers = [await connection.receive() for _ in range(40)]
        assert {answer["payload"]["code"] for answer in answers} == {"TIMEOUT"}
        may_end.set()
    assert len(begun) == 32


@pytest.mark.parametrize("is_async", [False, True])
async def test_slow_command_holds_up_no_other(user, editor, is_async):
    may_end = threading.Event()

    def slow(request):
        may_end.wait(10)

    async def slow_in_loop(request):
        while not may_end.is_set():
            await asyncio.sleep(0.01)

    command("slow")(slow_in_loop if is_async else slow)

    @command("quick")
    def quick(request):
        pass

    async with Connection(user=user) as connection, Connection(user=editor) as other:
        id = await connection.command("slow")
        began_at = time.monotonic()
        for each in (connection, other):
            assert await each.is_alive()
            assert (await each.ask("quick"))["type"] == "result"
        assert time.monotonic() - began_at < 1
        may_end.set()
        await connection.assert_reply(id, "result")


async def test_command_that_is_being_committed_as_its_time_ends_is_answered(user):
    may_end = threading.Event()

    @command("save", timeout=0.1)
    def save(request) -> str:
        Note.objects.create(text="a")
        transaction.on_commit(lambda: may_end.wait(10))
        return "saved"

    async with Connection(user=user) as connection:
        id = await connection.command("save")
        await connection.assert_nothing(0.2)
        may_end.set()
        await connection.assert_reply(id, "result", "saved")
    assert await asyncio.to_thread(texts) == ["a"]
