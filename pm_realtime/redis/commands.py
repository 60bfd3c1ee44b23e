"""Commands over kept connections of redis-py, without its way around each of them.

Taking a connection from a pool, retries (which this package has switched off) and measurements
take redis-py as long as the command itself.
"""

import hashlib
import inspect
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from pm_realtime.redis.driver import driver_for_threads

Part = str | bytes | int


class Connections:
    """The connections of ``pool``, which is for threads, and which nothing else uses."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        #: Not in use. The one that was used last is used first.
        self._free: list[Any] = []

    def run_script(self, script: str, keys: Sequence[str], arguments: Sequence[Part]) -> Any:
        """The answer of ``script``."""
        command = _pack_script(script, keys, arguments)
        try:
            return self._call(command)
        except driver_for_threads.exceptions.NoScriptError:
            self.run("SCRIPT", "LOAD", script)
            return self._call(command)

    def run(self, *parts: Part) -> Any:
        """The answer to a command. Raises the errors of redis-py."""
        return self._call(_pack(parts))

    def _call(self, command: bytes) -> Any:
        try:
            connection = self._free.pop()
        except IndexError:
            connection = _new_connection(self._pool)
        try:
            connection.send_packed_command([command])
            return connection.read_response()
        except driver_for_threads.ResponseError:
            raise
        except BaseException:
            connection.disconnect()  # The answer to this command must not become that to the next.
            raise
        finally:
            self._free.append(connection)

    def close_idle(self) -> None:
        """Close those that are not in use; the next command opens one again."""
        while self._free:
            with suppress(IndexError):  # Another thread took the last one.
                connection = self._free.pop()
                connection.disconnect()
                self._pool.release(connection)


async def run_script(pool: Any, script: str, keys: Sequence[str], arguments: Sequence[Part]) -> Any:
    """The answer of ``script`` over a connection of ``pool``, which is for asyncio."""
    command = _pack_script(script, keys, arguments)
    connection = await _new_connection(pool)
    try:
        try:
            return await _call(connection, command)
        except driver_for_threads.exceptions.NoScriptError:
            await _call(connection, _pack(("SCRIPT", "LOAD", script)))
            return await _call(connection, command)
    finally:
        await pool.release(connection)


async def _call(connection: Any, command: bytes) -> Any:
    await connection.send_packed_command([command])
    return await connection.read_response()


def _new_connection(pool: Any) -> Any:
    return pool.get_connection(*_first_command())


@cache
def _first_command() -> tuple[str, ...]:
    """redis-py before 5.3 wants to know a command before it gives a connection."""
    parameters = inspect.signature(driver_for_threads.ConnectionPool.get_connection).parameters
    name = parameters.get("command_name")
    return ("EVALSHA",) if name is not None and name.default is name.empty else ()


@cache
def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _pack_script(script: str, keys: Sequence[str], arguments: Sequence[Part]) -> bytes:
    return _pack(("EVALSHA", _sha(script), len(keys), *keys, *arguments))


def _pack(parts: Sequence[Part]) -> bytes:
    packed = [b"*%d\r\n" % len(parts)]
    for part in parts:
        text = part if isinstance(part, bytes) else str(part).encode()
        packed.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(packed)
