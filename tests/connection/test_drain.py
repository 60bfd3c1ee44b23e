"""SIGTERM in a process with connections: they close in groups, then the server stops."""

import asyncio
import signal
import threading
import time

import pytest

from pm_realtime import aget_stats, asend_to_user, signals
from pm_realtime.backends import get_backend
from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.connection.drain import (
    MIN_GROUP_SIZE,
    Drain,
    DrainTimings,
    group_sizes,
    use_drain,
)
from pm_realtime.exceptions import BackendError
from tests.connection.draining import RESTARTING, connections, terminate
from tests.connection.fakes import gate
from tests.support.helpers import (
    EVENT_TIMEOUT_SECONDS,
    NO_CONNECTIONS,
    Connection,
    errors_of,
    eventually,
)

GROUP_SECONDS = DrainTimings().group_seconds
ROOMS = {
    "open": {"public": True},
    "slow": {"public": True, "authorize": "tests.connection.fakes.waits_for_gate"},
}


class SlowBackend(MemoryBackend):
    """Counts anonymous connections in only when the test says so."""

    was_asked = may_answer = False

    async def add(self, connection, **kwargs):
        if connection.user_id is None:
            self.was_asked = True
            await eventually(lambda: self.may_answer)
        return await super().add(connection, **kwargs)


class UnreleasedBackend(MemoryBackend):
    """Is away when it is to forget this process."""

    async def release(self):
        raise BackendError("away")


@pytest.fixture
async def quick():
    """A drain that soon gives up on what does not end."""
    use_drain(Drain(DrainTimings(command_seconds=0.05, end_seconds=0.1, step_seconds=0.1)))


@pytest.fixture
async def slow():
    """A drain that waits for a second signal, which may come at once."""
    use_drain(Drain(DrainTimings(group_seconds=60, repeat_seconds=0)))


# The groups


@pytest.mark.parametrize(
    ("count", "period", "sizes"),
    [
        (0, 5, []),
        (1, 5, [1]),
        (MIN_GROUP_SIZE, 5, [MIN_GROUP_SIZE]),
        (MIN_GROUP_SIZE + 1, 5, [MIN_GROUP_SIZE // 2, MIN_GROUP_SIZE // 2 + 1]),
        (1000, 5, [20] * 50),
        (1000, GROUP_SECONDS / 10, [1000]),
        (1000, 1, [100] * 10),
    ],
)
def test_group_sizes(count, period, sizes):
    assert group_sizes(count, period, GROUP_SECONDS) == sizes


@pytest.mark.parametrize("period", [0.05, 0.1, 0.25, 1, 5, 7.3, 600])
@pytest.mark.parametrize("count", [*range(0, 60, 7), 101, 999, 1000, 1001, 54321])
def test_groups_are_of_one_size_and_take_at_most_the_period(count, period):
    sizes = group_sizes(count, period, GROUP_SECONDS)
    assert sum(sizes) == count
    assert all(sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert len(sizes) * GROUP_SECONDS <= max(period, GROUP_SECONDS) + GROUP_SECONDS / 2


# The signal


async def test_all_connections_close_and_then_the_server_stops(server, user, leaves_nothing):
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


async def test_connections_close_one_group_after_another(server, configure):
    configure(SHUTDOWN_PERIOD=600)
    count = 3 * MIN_GROUP_SIZE
    async with connections(count) as found:
        closed = []
        for connection in found:
            connection.future.add_done_callback(lambda _: closed.append(time.monotonic()))
        began = time.monotonic()
        terminate()
        await server.until_stopped()
    assert len(closed) == count
    assert closed[0] - began >= 0.9 * GROUP_SECONDS
    assert closed[-1] - began >= 2.9 * GROUP_SECONDS


async def test_second_signal_closes_all_that_are_left(server, slow, configure):
    configure(SHUTDOWN_PERIOD=600)
    async with connections(MIN_GROUP_SIZE + 1):
        terminate()
        terminate()
        await server.until_stopped()


async def test_second_signal_at_once_is_taken_for_the_first(server, configure):
    configure(SHUTDOWN_PERIOD=600)
    async with connections(3 * MIN_GROUP_SIZE):
        began = time.monotonic()
        for _ in range(3):
            terminate()
        await server.until_stopped()
        assert time.monotonic() - began >= 2.9 * GROUP_SECONDS


async def test_earlier_push_arrives_before_the_close(server, user):
    async with Connection(user=user) as connection:
        await asend_to_user(user, "before")
        terminate()
        await connection.assert_push("before")
        await connection.assert_closed(RESTARTING)


async def test_messages_in_the_layer_are_waited_for(server, far, user):
    use_drain(Drain(DrainTimings(group_seconds=0.001)))
    may_arrive, receive = asyncio.Event(), far.receive

    async def receive_late(channel):
        message = await receive(channel)
        await may_arrive.wait()
        return message

    may_arrive.set()
    far.receive = receive_late
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


async def test_frozen_layer_is_not_waited_for(server, far, quick):
    async with Connection() as connection:
        far.is_frozen = True
        terminate()
        await connection.assert_closed(RESTARTING)
        await server.until_stopped()
        far.is_frozen = False


async def test_handshake_during_a_drain_is_refused_with_a_code(server, slow, configure):
    configure(SHUTDOWN_PERIOD=600)
    refusals = []

    def note(**arguments):
        refusals.append((arguments["room"], arguments["code"]))

    signals.refused.connect(note)
    try:
        async with Connection():
            terminate()
            late = Connection()
            assert await late.connect(EVENT_TIMEOUT_SECONDS) == (True, None)
            await late.assert_closed(RESTARTING)
            await late.assert_ended()
            assert refusals == [(None, RESTARTING)]
            assert server.stopped == []
            terminate()
            await server.until_stopped()
            after = Connection()
            assert await after.connect(EVENT_TIMEOUT_SECONDS) == (True, None)
            await after.assert_closed(RESTARTING)
            assert server.stopped == [signal.SIGTERM]
    finally:
        signals.refused.disconnect(note)


async def test_handshake_under_way_is_accepted_and_refused(server, configure, user):
    configure(BACKEND="tests.connection.test_drain.SlowBackend")
    late = Connection()
    connecting = asyncio.create_task(late.connect(EVENT_TIMEOUT_SECONDS))
    backend = get_backend()
    await eventually(lambda: backend.was_asked)
    async with Connection(user=user) as other:
        terminate()
        await other.assert_closed(RESTARTING)
    backend.may_answer = True
    assert await connecting == (True, None)
    await late.assert_closed(RESTARTING)
    await server.until_stopped()
    assert await backend.get_stats() == NO_CONNECTIONS


async def test_running_command_is_carried_out(server, configure):
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


async def test_command_that_does_not_end_is_not_waited_for(server, configure, quick):
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


async def test_connection_that_does_not_end_is_aborted(server, quick, caplog):
    caplog.set_level("INFO", logger="pm_realtime")
    may_end = threading.Event()

    def block(**arguments):
        may_end.wait(EVENT_TIMEOUT_SECONDS)

    signals.disconnected.connect(block)
    try:
        async with Connection() as connection:
            terminate()
            await server.until_stopped()
            await connection.assert_ended()
            assert not may_end.is_set()
    finally:
        may_end.set()
        signals.disconnected.disconnect(block)
    assert "still there: 1." in caplog.records[-1].getMessage()


async def test_failure_does_not_keep_the_server_from_stopping(server, configure, caplog):
    async with Connection():
        configure(SHUTDOWN_PERIOD="soon")
        terminate()
        await server.until_stopped()
    [record] = errors_of(caplog)
    assert record.name == "pm_realtime.connection"


async def test_lost_backend_does_not_keep_the_server_from_stopping(server, configure, caplog):
    configure(BACKEND="tests.connection.test_drain.UnreleasedBackend")
    async with Connection():
        terminate()
        await server.until_stopped()
    assert errors_of(caplog) == []
