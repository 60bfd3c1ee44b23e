"""The one import of redis-py."""

import inspect

import redis.asyncio.connection

from pm_realtime.redis import default_socket_timeout


def test_default_socket_timeout_is_that_of_redis_py():
    signature = inspect.signature(redis.asyncio.connection.AbstractConnection.__init__)
    assert default_socket_timeout() == signature.parameters["socket_timeout"].default
