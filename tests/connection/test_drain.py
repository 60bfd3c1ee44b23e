"""SIGTERM in a process with connections: they close in groups, and then the server stops."""

import asyncio
import contextlib
import os
import signal
import threading
import time

import pytest
import uvicorn

from pm_realtime import aget_stats, asend_to_user, signals
from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.connection import drain
from pm_realtime.connection.drain import LEAST, TICK, group_sizes
from pm_realtime.exceptions import BackendError
from tests.support.helpers import NO_CONNECTIONS, PATIENCE, Connection, errors_of, eventually

RESTARTING = 4012
ROOMS = {
    "open": {"public": True},
    "slow": {"public": True, "authorize": "tests.connection.test_drain.waits_at_the_gate"},
}

gate = threading.Event()


def waits_at_the_gate(user, room):
    return gate.wait(PATIENCE)


class SlowBackend(MemoryBackend):
    """Counts nobody in who is anonymous before it may."""

    was_asked = may_answer = False

    async def add(self, connection, **kwargs):
        if connection.user_id is None:
            self.was_asked = True
            await eventually(lambda: self.may_answer)
        return await super().add(connection, **kwargs)


class Server:
    """What a server does at SIGTERM: here it notes who is still there."""

    def __init__(self):
        self.stopped = []

    def stop(self, signum, frame):
        self.stopped.append(signum)

    @property
    def is_in_charge(self):
        """Whether it hears the signal itself."""
        return signal.getsignal(signal.SIGTERM) == self.stop

    async def until_stopped(self):
        await eventually(lambda: self.stopped)
        assert self.stopped == [signal.SIGTERM]


@contextlib.contextmanager
def handling(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        assert signal.signal(signal.SIGTERM, before) == handler


@pytest.fixture
def server():
    """The process of a test as that of a server; it has its handler back afterwards."""
    server = Server()
    with handling(server.stop):
        yield server


@pytest.fixture
def quick(monkeypatch):
    """Those who do not go are not waited for."""
    monkeypatch.setattr("pm_realtime.connection.consumer.LAST_COMMANDS_TIMEOUT", 0.05)
    monkeypatch.setattr(drain, "GRACE", 0.1)
    monkeypatch.setattr(drain, "TIMEOUT", 0.1)


@contextlib.asynccontextmanager
async def connections(count, **options):
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Connection(**options)) for _ in range(count)]


def terminate():
    signal.raise_signal(signal.SIGTERM)


# The pace


@pytest.mark.parametrize(
    ("count", "period", "sizes"),
    [
        (0, 5, []),
        (1, 5, [1]),
        (LEAST, 5, [LEAST]),
        (LEAST + 1, 5, [LEAST // 2, LEAST // 2 + 1]),
        (1000, 5, [20] * 50),
        (1000, TICK / 10, [1000]),
        (1000, 1, [100] * 10),
    ],
)
def test_groups(count, period, sizes):
    assert group_sizes(count, period) == sizes


@pytest.mark.parametrize("period", [0.05, 0.1, 0.25, 1, 5, 7.3, 600])
@pytest.mark.parametrize("count", [*range(0, 60, 7), 101, 999, 1000, 1001, 54321])
def test_groups_are_of_one_size_and_take_the_period_at_most(count, period):
    sizes = group_sizes(count, period)
    assert sum(sizes) == count
    assert all(sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert len(sizes) * TICK <= max(period, TICK) + TICK / 2


# What the signal does


async def test_all_are_closed_and_then_the_server_stops(server, user, leaves_nothing):
    async with connections(3, user=user) as found:
        assert not server.is_in_charge
        terminate()
        assert server.stopped == []
        for connection in found:
            await connection.assert_closed(RESTARTING)
        await server.until_stopped()
        assert server.is_in_charge
        assert await aget_stats() == NO_CONNECTIONS


async def test_a_line_is_logged_before_and_after(server, caplog):
    caplog.set_level("INFO", logger="pm_realtime")
    async with connections(2):
        terminate()
        await server.until_stopped()
    lines = [each.getMessage() for each in caplog.records if each.levelname == "INFO"]
    assert lines[0] == "SIGTERM: closing 2 connections over 0.1 s."
    assert lines[1].startswith("Closed after ")
    assert lines[1].endswith(" s; still there: 0. The server stops.")
    assert len(lines) == 2


async def test_they_close_one_group_after_another(server, configure):
    configure(SHUTDOWN_PERIOD=600)
    count = 3 * LEAST
    async with connections(count) as found:
        closed = []
        for connection in found:
            connection.future.add_done_callback(lambda _: closed.append(time.monotonic()))
        began = time.monotonic()
        terminate()
        await server.until_stopped()
    assert len(closed) == count
    assert closed[0] - began >= 0.9 * TICK
    assert closed[-1] - began >= 2.9 * TICK


async def test_a_second_signal_closes_all_that_are_left(server, configure, monkeypatch):
    configure(SHUTDOWN_PERIOD=600)
    monkeypatch.setattr(drain, "TICK", 60)
    monkeypatch.setattr(drain, "REPEAT", 0)
    async with connections(LEAST + 1):
        terminate()
        terminate()
        await server.until_stopped()


async def test_a_second_signal_at_once_is_the_same(server, configure):
    configure(SHUTDOWN_PERIOD=600)
    async with connections(3 * LEAST):
        began = time.monotonic()
        for _ in range(3):
            terminate()
        await server.until_stopped()
        assert time.monotonic() - began >= 2.9 * TICK


async def test_what_was_pushed_before_comes_before(server, user):
    async with Connection(user=user) as connection:
        await asend_to_user(user, "before")
        terminate()
        await connection.assert_push("before")
        await connection.assert_closed(RESTARTING)


async def test_what_is_under_way_in_the_layer_is_waited_for(server, far, user, monkeypatch):
    monkeypatch.setattr(drain, "TICK", 0.001)
    may_arrive, receive = asyncio.Event(), far.receive

    async def receive_late(channel):
        message = await receive(channel)
        await may_arrive.wait()
        return message

    may_arrive.set()
    monkeypatch.setattr(far, "receive", receive_late)
    async with Connection(user=user) as connection:
        may_arrive.clear()
        await asend_to_user(user, "before")
        sent = len(far.sent)
        terminate()
        await eventually(lambda: len(far.sent) > sent)
        assert connection.unread() == []
        may_arrive.set()
        await connection.assert_push("before")
        await connection.assert_closed(RESTARTING)
        await server.until_stopped()


async def test_a_layer_that_does_not_answer_is_not_waited_for(server, far, quick):
    async with Connection() as connection:
        far.is_frozen = True
        terminate()
        await connection.assert_closed(RESTARTING)
        await server.until_stopped()
        far.is_frozen = False


async def test_who_comes_meanwhile_is_refused_with_a_code(server, configure, monkeypatch):
    configure(SHUTDOWN_PERIOD=600)
    refusals = []

    def note(**arguments):
        refusals.append((arguments["room"], arguments["code"]))

    signals.refused.connect(note)
    monkeypatch.setattr(drain, "TICK", 60)
    monkeypatch.setattr(drain, "REPEAT", 0)
    try:
        async with Connection():
            terminate()
            late = Connection()
            assert await late.connect(PATIENCE) == (True, None)
            await late.assert_closed(RESTARTING)
            await late.assert_ended()
            assert refusals == [(None, RESTARTING)]
            assert server.stopped == []
            terminate()
            await server.until_stopped()
            after = Connection()
            assert await after.connect(PATIENCE) == (True, None)
            await after.assert_closed(RESTARTING)
            assert server.stopped == [signal.SIGTERM]
    finally:
        signals.refused.disconnect(note)


async def test_a_handshake_under_way_is_accepted_and_refused(server, configure, user):
    configure(BACKEND="tests.connection.test_drain.SlowBackend")
    late = Connection()
    connecting = asyncio.create_task(late.connect(PATIENCE))
    backend = drain.get_backend()
    await eventually(lambda: backend.was_asked)
    async with Connection(user=user) as other:
        terminate()
        await other.assert_closed(RESTARTING)
    backend.may_answer = True
    assert await connecting == (True, None)
    await late.assert_closed(RESTARTING)
    await server.until_stopped()
    assert await backend.get_stats() == NO_CONNECTIONS


async def test_a_command_under_way_is_carried_out(server, configure):
    configure(ROOMS=ROOMS)
    gate.clear()
    async with Connection() as connection, Connection() as other:
        id = await connection.command("subscribe", {"room": "slow"})
        await eventually(connection.input_queue.empty)
        terminate()
        await other.assert_closed(RESTARTING)
        assert connection.unread() == []
        gate.set()
        await connection.assert_reply(id, "subscribed")
        await connection.assert_closed(RESTARTING)
        await server.until_stopped()


async def test_a_command_that_does_not_end_is_not_waited_for(server, configure, quick):
    configure(ROOMS=ROOMS)
    gate.clear()
    try:
        async with Connection() as connection:
            await connection.command("subscribe", {"room": "slow"})
            await eventually(connection.input_queue.empty)
            terminate()
            await connection.assert_closed(RESTARTING)
            await server.until_stopped()
    finally:
        gate.set()


async def test_a_connection_that_does_not_end_is_not_waited_for(server, quick, caplog):
    caplog.set_level("INFO", logger="pm_realtime")
    may_end = threading.Event()

    def dawdle(**arguments):
        may_end.wait(PATIENCE)

    signals.disconnected.connect(dawdle)
    try:
        async with Connection() as connection:
            terminate()
            await server.until_stopped()
            assert not connection.future.done()
            may_end.set()
            await connection.assert_ended()
    finally:
        may_end.set()
        signals.disconnected.disconnect(dawdle)
    assert "still there: 1." in caplog.records[-1].getMessage()


async def test_what_fails_does_not_keep_the_server_from_stopping(server, configure, caplog):
    async with Connection():
        configure(SHUTDOWN_PERIOD="soon")
        terminate()
        await server.until_stopped()
    [record] = errors_of(caplog)
    assert record.name == "pm_realtime.connection"


async def test_a_backend_that_is_away_does_not_keep_the_server_from_stopping(
    server, monkeypatch, caplog
):
    async def fail(self):
        raise BackendError("away")

    monkeypatch.setattr(MemoryBackend, "release", fail)
    async with Connection():
        terminate()
        await server.until_stopped()
    assert errors_of(caplog) == []


# Whose signal it is


async def test_without_connections_the_signal_is_the_servers_own(server):
    assert server.is_in_charge
    async with Connection():
        async with Connection():
            assert not server.is_in_charge
        assert not server.is_in_charge
    await eventually(lambda: server.is_in_charge)
    terminate()
    assert server.stopped == [signal.SIGTERM]
    async with Connection() as connection:
        assert await connection.is_alive()


async def test_interrupts_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    async with Connection():
        assert signal.getsignal(signal.SIGINT) == before


async def test_a_handler_that_came_later_stays_and_may_pass_the_signal_on(server):
    passed = []
    async with Connection() as connection:
        ours = signal.getsignal(signal.SIGTERM)

        def later(signum, frame):
            passed.append(signum)
            ours(signum, frame)

        with handling(later):
            terminate()
            assert passed == [signal.SIGTERM]
            await connection.assert_closed(RESTARTING)
            await server.until_stopped()
            assert signal.getsignal(signal.SIGTERM) == later
            terminate()
            assert server.stopped == [signal.SIGTERM] * 2
        signal.signal(signal.SIGTERM, server.stop)


async def test_a_handler_that_came_later_passes_the_signal_on_also_when_all_have_left(server):
    async with Connection() as connection:
        ours = signal.getsignal(signal.SIGTERM)

        def later(signum, frame):
            ours(signum, frame)

        signal.signal(signal.SIGTERM, later)
    await connection.assert_ended()
    terminate()
    assert server.stopped == [signal.SIGTERM]
    signal.signal(signal.SIGTERM, server.stop)


async def test_a_process_that_ignores_the_signal_goes_on_ignoring_it():
    with handling(signal.SIG_IGN):
        async with Connection() as connection:
            terminate()
            assert await connection.is_alive()


def test_a_loop_in_another_thread_hears_no_signals(server):
    async def connect():
        async with Connection() as connection:
            assert server.is_in_charge
            assert await connection.is_alive()

    thread = threading.Thread(target=asyncio.run, args=[connect()])
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


async def test_uvicorn_is_told_to_stop_without_having_caught_the_signal():
    """It raises what it has caught again when it has stopped, and would end with -15."""
    serving = uvicorn.Server(uvicorn.Config("none:none", log_config=None))
    with handling(serving.handle_exit):
        async with Connection() as connection:
            terminate()
            await connection.assert_closed(RESTARTING)
            await eventually(lambda: serving.should_exit)
            assert serving._captured_signals == []


def test_where_nobody_handles_it_the_process_ends_of_it(tmp_path):
    async def end():
        async with Connection() as connection:
            terminate()
            await connection.assert_closed(RESTARTING)
            await asyncio.sleep(PATIENCE)

    assert code_of_child(lambda: asyncio.run(end()), signal.SIG_DFL) == -signal.SIGTERM


def test_what_the_handler_raises_ends_the_loop(caplog):
    def leave(signum, frame):
        raise SystemExit(7)

    async def end():
        async with Connection() as connection:
            terminate()
            await connection.assert_closed(RESTARTING)
            await asyncio.sleep(PATIENCE)

    with handling(leave), pytest.raises(SystemExit) as ended:
        asyncio.run(end())
    assert ended.value.code == 7
    assert errors_of(caplog) == []


async def test_in_a_forked_child_the_signal_is_the_servers_own():
    def leave(signum, frame):
        os._exit(7)

    with handling(leave):
        async with Connection() as connection:
            assert code_of_child(terminate) == 7
            assert await connection.is_alive()


def code_of_child(function, handler=None):
    """The exit code of a fork that runs ``function``."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)
        function()
    finally:
        os._exit(1)
