"""SIGTERM and its other handlers."""

import asyncio
import os
import signal
import threading

import pytest
import uvicorn

from tests.connection.draining import RESTARTING, handling, terminate
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, Connection, errors_of, eventually


async def test_without_connections_the_server_handles_the_signal(server):
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


async def test_sigint_is_left_alone():
    before = signal.getsignal(signal.SIGINT)
    async with Connection():
        assert signal.getsignal(signal.SIGINT) == before


async def test_later_handler_stays_and_may_call_ours(server):
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


async def test_later_handler_may_call_ours_when_all_connections_have_gone(server):
    async with Connection() as connection:
        ours = signal.getsignal(signal.SIGTERM)

        def later(signum, frame):
            ours(signum, frame)

        signal.signal(signal.SIGTERM, later)
    await connection.assert_ended()
    terminate()
    assert server.stopped == [signal.SIGTERM]
    signal.signal(signal.SIGTERM, server.stop)


async def test_ignored_signal_stays_ignored():
    with handling(signal.SIG_IGN):
        async with Connection() as connection:
            terminate()
            assert await connection.is_alive()


def test_loop_in_another_thread_gets_no_signals(server):
    async def connect():
        async with Connection() as connection:
            assert server.is_in_charge
            assert await connection.is_alive()

    thread = threading.Thread(target=asyncio.run, args=[connect()])
    thread.start()
    thread.join(EVENT_TIMEOUT_SECONDS)
    assert not thread.is_alive()


async def test_uvicorn_stops_without_having_caught_the_signal():
    """It would raise a caught signal again when it has stopped, and end with -15."""
    serving = uvicorn.Server(uvicorn.Config("none:none", log_config=None))
    with handling(serving.handle_exit):
        async with Connection() as connection:
            terminate()
            await connection.assert_closed(RESTARTING)
            await eventually(lambda: serving.should_exit)
            assert serving._captured_signals == []


def test_without_a_handler_the_signal_ends_the_process(tmp_path):
    async def end():
        async with Connection() as connection:
            terminate()
            await connection.assert_closed(RESTARTING)
            await asyncio.sleep(EVENT_TIMEOUT_SECONDS)

    assert code_of_child(lambda: asyncio.run(end()), signal.SIG_DFL) == -signal.SIGTERM


def test_exception_in_the_handler_ends_the_loop(caplog):
    def leave(signum, frame):
        raise SystemExit(7)

    async def end():
        async with Connection() as connection:
            terminate()
            await connection.assert_closed(RESTARTING)
            await asyncio.sleep(EVENT_TIMEOUT_SECONDS)

    with handling(leave), pytest.raises(SystemExit) as ended:
        asyncio.run(end())
    assert ended.value.code == 7
    assert errors_of(caplog) == []


async def test_in_a_forked_child_the_server_handles_the_signal():
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
