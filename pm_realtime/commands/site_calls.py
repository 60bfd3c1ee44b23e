"""One call of a function of the site: in its transaction, within its time, and its result as text.

A thread cannot be stopped. A call that takes too long goes on in its thread, but is rolled back
there: a call either ends in time, or is expired and changes nothing, and never both.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db import connections, transaction

from pm_realtime.concurrency import PerLoop, note_abandoned_call, note_result
from pm_realtime.exceptions import CommandError, OutageError
from pm_realtime.observability import log_failure, throttle
from pm_realtime.protocol import INTERNAL_ERROR, ErrorCode
from pm_realtime.rooms import run_async_site_code, run_in_site_thread
from pm_realtime.schemas import InvalidPayload

logger = logging.getLogger("pm_realtime.commands")

#: Calls of one sync function that are under way at the same time in an event loop.
MAX_CALLS_PER_FUNCTION: Final = 32
#: The database engine of a site that has none.
NO_DATABASE: Final = "django.db.backends.dummy"

#: By ``SiteCall.bound``.
_free_calls: Final = PerLoop[dict[str, asyncio.Semaphore]](dict)
#: The tasks in which commands are carried out, from their begin to their end.
_under_way: Final = PerLoop[set["asyncio.Task[Any]"]](set)

#: Those of the running event loop. They outlive the connections that sent the commands.
commands_under_way: Final = _under_way.get


def is_never_lost() -> bool:
    """Of a call that no other process makes as well."""
    return False


class TimedOut(CommandError):
    """A call took too long. ``rest`` is what still runs of it; None if it had not begun."""

    def __init__(self, call: "SiteCall", rest: "asyncio.Future[str] | None" = None) -> None:
        text = f"{call.name} took longer than {call.timeout_seconds:g} s."
        super().__init__(ErrorCode.TIMEOUT, text)
        self.rest = rest


class _Expired(Exception):
    """A call whose time was over before its transaction was committed."""


class Attempt:
    """Whether a call may still commit. Used by its thread and by the event loop."""

    __slots__ = ("_lock", "is_committed", "is_committing", "is_expired")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.is_expired = self.is_committing = self.is_committed = False

    def begin_commit(self) -> None:
        """Raises ``_Expired`` if the time is over."""
        with self._lock:
            if self.is_expired:
                raise _Expired
            self.is_committing = True

    def expire(self) -> bool:
        """Have the call not commit; False if it does already."""
        with self._lock:
            self.is_expired = not self.is_committing
        return self.is_expired

    def note_commit(self) -> None:
        self.is_committed = True


@dataclass(slots=True, eq=False)
class SiteCall:
    """A call of a function: ``call()`` makes it, and ``encode`` writes what it returns."""

    #: As the client knows it.
    name: str
    #: Calls with the same one have one bound.
    bound: str
    call: Callable[[], Any]
    encode: Callable[[Any], str]
    is_async: bool
    #: The alias of the database of the transaction; None: there is none.
    database: str | None
    timeout_seconds: float
    #: Called right before it begins. May wait, and raises ``CommandError`` if it may not begin.
    begin: Callable[[], Awaitable[None]]
    #: Asked before the commit: whether another process may do the same by now, as this one was
    #: frozen. Then the call changes nothing.
    is_lost: Callable[[], bool] = is_never_lost

    async def run(self) -> str:
        """The JSON text of what the function returns. Raises :exc:`TimedOut`, and its errors."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self.timeout_seconds
        slots = None if self.is_async else await self._take_slot(ends_at)
        try:
            ends_at -= loop.time()
            await self.begin()
            # The time of the site's code, not that of rights that were in doubt.
            ends_at += loop.time()
        except BaseException:
            if slots is not None:
                slots.release()
            raise
        attempt, waiter = Attempt(), loop.create_future()
        running = loop.create_task(self._run(attempt, waiter))

        def end(running: "asyncio.Task[str]") -> None:
            note_result(running)
            _wake(waiter)  # Of a task that was cancelled before its first step.
            if slots is not None:
                # After a timeout the call goes on in its thread, and is one of those under way.
                slots.release()

        running.add_done_callback(end)
        timer = loop.call_at(ends_at, _wake, waiter)
        try:
            # Cheaper than `asyncio.wait`.
            await waiter
        except asyncio.CancelledError:
            attempt.expire()
            self._stop(running)
            raise
        finally:
            timer.cancel()
        return await self._result_of(running, attempt)

    async def _take_slot(self, ends_at: float) -> asyncio.Semaphore:
        free_calls = _free_calls.get()
        if (slots := free_calls.get(self.bound)) is None:
            slots = free_calls[self.bound] = asyncio.Semaphore(MAX_CALLS_PER_FUNCTION)
        if not slots.locked():
            await slots.acquire()
            return slots
        try:
            async with asyncio.timeout_at(ends_at) as limit:
                await slots.acquire()
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimedOut(self) from None
        return slots

    async def _result_of(self, running: "asyncio.Task[str]", attempt: Attempt) -> str:
        if not running.done():
            if attempt.expire():
                self._stop(running)
                raise TimedOut(self, running)
            await asyncio.wait({running})
        if running.cancelled():
            raise RuntimeError(f"{self.bound} was cancelled")
        try:
            return running.result()
        except _Expired:
            raise TimedOut(self) from None
        except Exception:
            raise
        except BaseException as error:
            raise RuntimeError(f"{self.bound} raised {error!r}") from error

    def _stop(self, running: "asyncio.Future[str]") -> None:
        if self.is_async:
            running.cancel()
        note_abandoned_call(running)

    async def _run(self, attempt: Attempt, waiter: "asyncio.Future[None]") -> str:
        try:
            if self.is_async:
                return self.encode(await run_async_site_code(self.call))
            text: str = await run_in_site_thread(self._run_in_thread, attempt)
            return text
        finally:
            # In this step, as a callback of the task would take another turn of the event loop.
            _wake(waiter)

    def _run_in_thread(self, attempt: Attempt) -> str:
        if attempt.is_expired:
            raise _Expired  # It has waited for a thread too long.
        alias = self.database
        if alias is None or connections[alias].settings_dict["ENGINE"] == NO_DATABASE:
            return self.encode(self.call())
        text = ""
        try:
            with transaction.atomic(using=alias):
                depth = len(connections[alias].atomic_blocks)
                if depth == 1:
                    # The first of what follows the commit: an error of the rest undoes nothing.
                    transaction.on_commit(attempt.note_commit, using=alias)
                text = self.encode(self.call())
                connection = connections[alias]
                if connection.closed_in_transaction or len(connection.atomic_blocks) != depth:
                    text = f"{self.bound} closed its connection, or left a transaction open"
                    raise RuntimeError(text)
                if self.is_lost():
                    raise _Expired
                attempt.begin_commit()
        except BaseException as error:
            if not attempt.is_committed:
                raise
            log_failure(logger, f"A callback failed after the commit of {self.bound}.", error)
        return text


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def answer_to(error: Exception, what: str, room: str | None) -> CommandError:
    """The error that tells the client of ``error``; the log has what the client is not told."""
    if isinstance(error, TimedOut) and (count := throttle.note((TimedOut, what))):
        logger.warning("%s timed out: %s Times: %d", what, error.message, count)
    if isinstance(error, CommandError):
        return error
    if isinstance(error, InvalidPayload):
        log_failure(logger, f"{what} returned what cannot be sent.", error)
    elif not isinstance(error, OutageError):  # The log has the outage already.
        log_failure(logger, f"{what} failed.", error)
    return CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR, room=room)
