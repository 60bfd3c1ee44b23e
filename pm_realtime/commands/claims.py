"""Claims: a command that comes again, as after a reconnect, is carried out once.

The first call that claims a key carries the command out. The others wait for its result.
"""

import asyncio
import itertools
import logging
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import blake2b
from typing import Any, Final
from uuid import uuid4

import msgspec

from pm_realtime.backends import ClaimState, get_results
from pm_realtime.commands.site_calls import TimedOut, is_never_lost
from pm_realtime.concurrency import PerLoop, after_fork
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError
from pm_realtime.protocol import Command
from pm_realtime.rooms import Connection

logger = logging.getLogger("pm_realtime.commands")

#: Seconds between two looks at a command that another call carries out: at first, and at most.
POLL_SECONDS: Final = 0.05
MAX_POLL_SECONDS: Final = 0.5
#: Seconds between two tries to tell a backend that is away what became of a command.
RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 10.0

#: The ids of the browser client have no hyphens.
_UUID: Final = re.compile("[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)

#: The tasks that tell the backend later. An event loop has only weak references to tasks.
_settling: Final = PerLoop[set[asyncio.Task[None]]](set)


def digest_of(connection: Connection, id: str, *parts: Any) -> str:
    """A text that is the same each time that a client sends ``parts`` under ``id``.

    With the content, as a client may number its commands from 1 in every tab. Visitors have no
    user, so their ids count for each client, unless they are unique by themselves.
    """
    user_id = connection.identity.user_id
    client_id = None if user_id is not None or _UUID.fullmatch(id) else connection.client_id
    text = msgspec.json.encode((user_id, client_id, id, *parts))
    return blake2b(text, digest_size=16).hexdigest()


def command_key(connection: Connection, command: Command) -> str | None:
    """The key of a command of the site; None if it has no id, so that each one is carried out."""
    if not command.id:
        return None
    more = (command.type, command.room, command.payload)
    return f"command {digest_of(connection, command.id, *more)}"


#: The beginning of the owners of this process, and their numbers. A system call for each owner
#: would take longer than the rest of a claim.
_process = uuid4().hex
_numbers: Final = itertools.count()


def _new_owner() -> str:
    """A text that no other claim of any process has."""
    return f"{_process}-{next(_numbers)}"


def _begin_process() -> None:
    global _process
    _process = uuid4().hex


after_fork(_begin_process)


class Claim:
    """The claim of one call to the command with ``key``."""

    __slots__ = (
        "_key",
        "_owner",
        "_period",
        "_results",
        "_timeout_seconds",
        "_ttl_seconds",
        "may_be_lost",
    )

    def __init__(self, key: str, timeout_seconds: float) -> None:
        self._key = key
        self._owner = _new_owner()
        self._results = get_results()
        self._period: float = conf.IDEMPOTENCY_PERIOD
        self._timeout_seconds = timeout_seconds
        # A claim lasts for as long as its command may run, and longer.
        self._ttl_seconds = timeout_seconds + self._period
        #: Whether another may carry the command out by now. Any thread may ask.
        self.may_be_lost: Callable[[], bool] = is_never_lost

    async def carry_out(
        self, run: Callable[[], Awaitable[str]], is_given_up: Callable[[], bool] = lambda: False
    ) -> tuple[bool, str | None]:
        """Whether this call has carried the command out, by ``run()``, and its result.

        If another call carries it out, this one waits for the result, at most for the timeout of
        the command and until ``is_given_up()``; then the result is None. The claim is free again
        after an error of ``run()``, but after :exc:`TimedOut` not before what still runs has ended.
        """
        try:
            is_mine, result = await self._take(is_given_up)
            if is_mine:
                result = await run()
        except TimedOut as error:
            self._settle_later(error)
            raise
        except BaseException:
            self._release()
            raise
        return is_mine, result

    async def _take(self, is_given_up: Callable[[], bool]) -> tuple[bool, str | None]:
        """Whether the caller is to carry the command out, and the result if it was carried out."""
        began, pause = time.monotonic(), POLL_SECONDS
        while True:
            found = await self._results.claim(self._key, self._owner, self._ttl_seconds)
            if found.state is ClaimState.TAKEN:
                self.may_be_lost = self._results.watch(self._key, self._owner)
                return True, None
            if found.state is ClaimState.DONE:
                return False, found.result
            left = began + self._timeout_seconds - time.monotonic()
            if left <= 0 or is_given_up():
                return False, None
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, MAX_POLL_SECONDS)

    async def keep(self, result: str) -> None:
        """Have later calls get ``result``."""
        keep = self._results.keep
        await self._tell(lambda: keep(self._key, self._owner, result, self._period))

    def _release(self) -> None:
        """Have the next call carry the command out. Returns at once."""
        self._begin(self._tell(lambda: self._results.release(self._key, self._owner)))

    def _settle_later(self, error: TimedOut) -> None:
        """Keep or release when what still runs of a call that took too long has ended."""
        if error.rest is None:
            self._release()
        else:
            error.rest.add_done_callback(self._settle)

    def _settle(self, rest: "asyncio.Future[str]") -> None:
        if rest.cancelled() or rest.exception() is not None:
            self._release()
        else:
            self._begin(self.keep(rest.result()))

    async def _tell(self, tell: Callable[[], Awaitable[None]]) -> None:
        try:
            await tell()
        except BackendError as error:
            logger.debug("A backend could not be told what became of a command: %s", error)
            self._begin(self._tell_later(tell))

    async def _tell_later(self, tell: Callable[[], Awaitable[None]]) -> None:
        loop, pause = asyncio.get_running_loop(), RETRY_SECONDS
        ends_at = loop.time() + self._ttl_seconds
        while loop.time() < ends_at:
            await asyncio.sleep(pause)
            try:
                return await tell()
            except BackendError:
                pause = min(2 * pause, MAX_RETRY_SECONDS)

    def _begin(self, work: Any) -> None:
        tasks = _settling.get()
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(partial(_forget, tasks))


def _forget(tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    tasks.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("It could not be noted what became of a command.", exc_info=error)
