"""Publishes and runs scripts from threads on one server, over a few sockets that are kept."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.redis.commands import Connections, Part
from pm_realtime.redis.driver import (
    SERVER_ERRORS,
    driver_for_threads,
    is_broken_socket,
    is_demotion,
)
from pm_realtime.redis.pools import address_of, open_pools, read_hosts
from pm_realtime.redis.refusals import describe

R = TypeVar("R")

#: Seconds after which kept sockets are opened anew: firewalls forget idle ones after minutes, and
#: the address may lead to another server by then.
SOCKET_LIFE_SECONDS: Final = 30.0
#: For connecting and for each answer. A push may take both twice.
SOCKET_TIMEOUT_SECONDS: Final = 1.0
#: Options of a host that a client which blocks cannot use.
ASYNCIO_ONLY: Final = frozenset({"connection_class", "parser_class", "redis_connect_func"})

#: PUBLISH on a server that takes writes. A replica takes PUBLISH too, and reaches nobody with it.
#: Other reasons to refuse a write, such as a full memory, are none to lose a push.
_PUBLISH: Final = """
local written = redis.pcall('PEXPIRE', KEYS[1], 1)
local refusal = type(written) == 'table' and written.err
if refusal and (string.find(refusal, 'READONLY') or string.find(refusal, 'MASTERDOWN')) then
  return written
end
return redis.call('PUBLISH', ARGV[1], ARGV[2])
"""


class Publisher:
    """For any number of threads. ``key`` is one that no one sets: its expiry is a write.

    Raises ``ValueError`` if no connection can be made of ``host``.
    """

    def __init__(
        self,
        host: Mapping[str, Any],
        key: str,
        *,
        max_sockets: int,
        max_wait_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        (self._host,) = read_hosts([dict(host)])
        if found := ASYNCIO_ONLY & self._host.keys():
            raise ValueError(f"{', '.join(sorted(found))} is for asyncio")
        self._key = key
        self._max_sockets = max_sockets
        self._max_wait_seconds = max_wait_seconds
        self._clock = clock
        self._slots = threading.BoundedSemaphore(max_sockets)
        self._lock = threading.Lock()
        self._sockets = self._open()

    def publish(self, channel: str, text: bytes) -> None:
        """Publish ``text``. Raises ``BackendError`` if the server does not take it in time.

        If a socket breaks, the push is sent once more over a new one. So it may arrive twice, if
        the server had taken it and only the answer was lost.
        """
        self._call(lambda sockets: sockets.publish(self._key, channel, text))

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Part]) -> Any:
        """The answer of ``script``, in bytes. Raises ``BackendError`` as :meth:`publish`.

        If a socket breaks, the script is run once more, as it may have been run before.
        """
        return self._call(lambda sockets: sockets.run(script, keys, arguments), script)

    def renew(self) -> None:
        """Open sockets anew, as the address may lead to another server by now."""
        self._replace(self._sockets)

    def close(self) -> None:
        """Close all sockets; the next message opens one again."""
        for pool in self._sockets.pools:
            pool.disconnect()

    def _call(self, call: Callable[["_Sockets"], R], script: str = "") -> R:
        name = self._sockets.name
        if not self._slots.acquire(timeout=self._max_wait_seconds):
            raise OutageError(f"{name}: no connection was free within {self._max_wait_seconds:g} s")
        try:
            return self._call_twice(call)
        except SERVER_ERRORS as error:
            raise OutageError(f"{name}: {describe(error, script)}") from error
        except (ValueError, TypeError, AttributeError) as error:
            # A wrong value of an option that is only read when a socket is opened.
            raise BackendError(f"{name}: {type(error).__name__}: {error}") from error
        finally:
            self._slots.release()

    def _call_twice(self, call: Callable[["_Sockets"], R]) -> R:
        sockets = self._sockets
        if self._clock() - sockets.opened_at > SOCKET_LIFE_SECONDS:
            sockets = self._replace(sockets)
        try:
            return call(sockets)
        except SERVER_ERRORS as error:
            if not (is_broken_socket(error) or is_demotion(error)):
                raise
            return call(self._replace(sockets))
        finally:
            if self._sockets is not sockets:  # Replaced while this thread used one of them.
                sockets.close_idle()

    def _open(self) -> "_Sockets":
        return _Sockets(self._host, self._max_sockets, self._clock())

    def _replace(self, sockets: "_Sockets") -> "_Sockets":
        """New sockets in place of ``sockets``; those in use are closed once they are not."""
        with self._lock:
            if self._sockets is sockets:
                self._sockets = self._open()
                sockets.close_idle()
            return self._sockets


class _Sockets:
    """Those that were opened at about the same time (monotonic seconds)."""

    def __init__(self, host: dict[str, Any], max_sockets: int, opened_at: float) -> None:
        self.pools = open_pools(
            host, SOCKET_TIMEOUT_SECONDS, driver_for_threads, max_connections=max_sockets
        )
        self.name = f"Redis at {address_of(self.pools[0])}"
        self.opened_at = opened_at
        self._connections = Connections(self.pools[0])
        self.run = self._connections.run_script
        self._may_run_script = True

    def close_idle(self) -> None:
        self._connections.close_idle()
        for pool in self.pools:
            pool.disconnect(inuse_connections=False)

    def publish(self, key: str, channel: str, text: bytes) -> None:
        if self._may_run_script:
            try:
                self.run(_PUBLISH, (key,), (channel, text))
            except driver_for_threads.ResponseError as error:
                if is_demotion(error):
                    raise
                # The user may not touch the key, or run scripts.
                self._may_run_script = False
            else:
                return
        self._connections.run("PUBLISH", channel, text)
