"""Which exceptions mean that a server is away."""

import pytest
import redis.asyncio
from redis.exceptions import AuthenticationError, RedisError

from pm_realtime.redis import is_lost_connection


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


def test_attribute_error_of_our_own_is_a_mistake():
    with pytest.raises(AttributeError) as caught:
        None.writelines  # noqa: B018
    assert not is_lost_connection(caught.value)
