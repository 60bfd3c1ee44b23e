"""Commands over the kept connections of threads and of event loops."""

import threading

import pytest
import redis

from pm_realtime.redis import driver_for_asyncio, driver_for_threads, open_pools
from pm_realtime.redis.commands import Connections, run_script
from tests.support.helpers import EVENT_TIMEOUT_SECONDS

ECHO = "return {KEYS[1], ARGV[1], ARGV[2]}"


class Interrupt(BaseException):
    """As of a signal, or of a timeout of gevent."""


class Interrupted:
    """A connection of redis-py that is interrupted once, before it has read the answer."""

    def __init__(self, connection):
        self._connection = connection
        self._is_first = True

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def read_response(self):
        if self._is_first:
            self._is_first = False
            raise Interrupt
        return self._connection.read_response()


@pytest.fixture
def pool(valkey):
    (pool,) = open_pools({"address": valkey.url}, 1.0, driver_for_threads, max_connections=4)
    yield pool
    pool.disconnect()


def test_script_is_loaded_again_if_the_server_forgot_it(pool, valkey):
    connections = Connections(pool)
    for _ in range(2):
        answer = connections.run_script(ECHO, ["key"], ["é", b"\xff\r\n"])
        assert answer == [b"key", "é".encode(), b"\xff\r\n"]
        with valkey.client() as client:
            client.script_flush()


async def test_script_of_an_event_loop_is_loaded_again_too(valkey):
    (pool,) = open_pools({"address": valkey.url}, 1.0, driver_for_asyncio, decode_responses=True)
    for _ in range(2):
        assert await run_script(pool, ECHO, ["key"], ["é", 1]) == ["key", "é", "1"]
        with valkey.client() as client:
            client.script_flush()
    await pool.disconnect()


def test_answer_of_an_interrupted_command_is_not_that_of_the_next(pool, monkeypatch):
    connections = Connections(pool)
    make = pool.get_connection
    monkeypatch.setattr(pool, "get_connection", lambda *command: Interrupted(make(*command)))
    with pytest.raises(Interrupt):
        connections.run("ECHO", "first")
    assert connections.run("ECHO", "second") == b"second"


def test_error_of_a_command_keeps_its_connection(pool, valkey):
    connections = Connections(pool)
    for _ in range(3):
        with pytest.raises(redis.ResponseError):
            connections.run("NONSENSE")
        assert connections.run("ECHO", "a") == b"a"
    with valkey.client() as client:
        assert len(client.client_list()) == 1 + 1


def test_threads_share_connections_which_close_between_commands(pool, valkey):
    connections = Connections(pool)
    failed = []

    def work(number):
        for count in range(300):
            text = f"{number} {count}".encode()
            if connections.run("ECHO", text) != text:
                failed.append(text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        connections.close_idle()
    for thread in threads:
        thread.join(EVENT_TIMEOUT_SECONDS)
    connections.close_idle()
    assert failed == []
    with valkey.client() as client:
        assert len(client.client_list()) == 1
