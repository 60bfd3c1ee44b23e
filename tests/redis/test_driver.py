"""The one import of redis-py, and which exceptions mean that a server is away."""

import asyncio
import inspect

import pytest
import redis.asyncio
from redis.exceptions import AuthenticationError, RedisError

from pm_realtime.redis import default_socket_timeout, is_lost_connection


def test_default_socket_timeout_is_that_of_redis_py():
    signature = inspect.signature(redis.asyncio.connection.AbstractConnection.__init__)
    assert default_socket_timeout() == signature.parameters["socket_timeout"].default


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (ConnectionError(), True),
        (TimeoutError(), True),
        (EOFError(), True),
        (RedisError(), True),
        (AuthenticationError(), True),
        (TypeError(), False),
        (None, False),
    ],
    ids=repr,
)
def test_lost_connection_is_told_from_mistake(error, answer):
    assert is_lost_connection(error) is answer


async def test_redis_py_connection_cut_during_write_is_lost():
    connection = redis.asyncio.Connection()
    with pytest.raises(AttributeError) as caught:
        await connection._send_packed_command([b"PING"])
    assert is_lost_connection(caught.value)


async def test_write_to_a_lost_socket_is_lost(valkey):
    connection = redis.asyncio.Connection(port=valkey.port)
    await connection.connect()
    connection._writer.transport.abort()
    await asyncio.sleep(0)
    writing = connection._send_packed_command([b"PING"])
    (error,) = await asyncio.gather(writing, return_exceptions=True)
    # Some versions of Python raise nothing before the reply is read.
    assert error is None or is_lost_connection(error)
    await connection.disconnect()


async def test_second_reader_of_a_redis_py_connection_is_lost(valkey):
    connection = redis.asyncio.Connection(port=valkey.port)
    await connection.connect()
    reading = asyncio.create_task(connection.read_response())
    await asyncio.sleep(0.01)
    with pytest.raises(RuntimeError) as caught:
        await connection.read_response()
    assert is_lost_connection(caught.value)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await connection.disconnect()


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_error_of_our_own_code_is_a_mistake(error):
    with pytest.raises(error) as caught:
        raise error
    assert not is_lost_connection(caught.value)
