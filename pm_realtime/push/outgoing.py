"""Outgoing messages: sent now or after the commit, from a thread or from an event loop."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

from asgiref.sync import sync_to_async

from pm_realtime import layer
from pm_realtime.backends import StreamMessage
from pm_realtime.concurrency import PerLoop, is_loop_of_a_caller, may_have_waiting_caller
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.observability import outage
from pm_realtime.push.commits import after_commits
from pm_realtime.push.retry_queue import retry_queue
from pm_realtime.push.streams import push_streams

logger = logging.getLogger("pm_realtime.push")

R = TypeVar("R")


class Direct(NamedTuple):
    """A message for a group that has no stream."""

    group: str
    message: layer.Message


class Outgoing(NamedTuple, Generic[R]):
    """A message for a group, through its stream if it has one, and the ``result`` for its sender.

    ``fail_silently`` says whether its sender learns of an outage; None: as ``FAIL_SILENTLY`` says.
    ``retry`` is the message that is sent later if Redis does not take this one.
    """

    message: StreamMessage | Direct
    result: R
    on_commit: bool
    fail_silently: bool | None = None
    retry: StreamMessage | None = None


_SendWith = Callable[[Outgoing[Any]], None]


def send(outgoing: Outgoing[R]) -> R:
    """Send ``outgoing`` from a thread without a running event loop."""
    if not (outgoing.on_commit and after_commits(partial(_send_or_count, _send_now, outgoing))):
        _send_now(outgoing)
    return outgoing.result


async def asend(outgoing: Outgoing[R]) -> R:
    """Send ``outgoing`` from the running event loop."""
    if not (outgoing.on_commit and await _after_commit_of_caller(outgoing)):
        await _asend_now(outgoing)
    return outgoing.result


def send_from_signal(
    outgoing: Outgoing[None], *, before_commit: Outgoing[None] | None = None
) -> None:
    """Send ``outgoing`` from any thread or running event loop, without errors and long waits.

    If it waits for a commit, ``before_commit`` is sent at once.
    """
    if layer.is_alone():
        return
    try:
        # The loop of an async view under WSGI ends before a task of it would run.
        send_with = _send_now if is_loop_of_a_caller() else _send_soon
    except RuntimeError:  # No loop is running.
        send_with = _send_now
    deliver = partial(_send_or_count, send_with, outgoing)
    if not (outgoing.on_commit and after_commits(deliver, refuses_manual=False)):
        deliver()
    elif before_commit is not None:
        _send_or_count(send_with, before_commit)


def _send_now(outgoing: Outgoing[Any]) -> None:
    try:
        message = outgoing.message
        if isinstance(message, StreamMessage):
            push_streams().publish_from_thread(message)
        else:
            layer.send(message.group, message.message)
    except BackendError as error:
        _note_failure(outgoing, error)


async def _asend_now(outgoing: Outgoing[Any]) -> None:
    try:
        message = outgoing.message
        if isinstance(message, StreamMessage):
            await push_streams().publish(message)
        else:
            await layer.asend(message.group, message.message)
    except BackendError as error:
        _note_failure(outgoing, error)


def _note_failure(outgoing: Outgoing[Any], error: BackendError) -> None:
    """Queue the message again, if it is one for that, and raise ``error`` unless it is silenced."""
    if isinstance(error, OutageError) and outgoing.retry is not None:
        retry_queue.add(outgoing.retry)
    is_silent = outgoing.fail_silently
    if not (conf.FAIL_SILENTLY if is_silent is None else is_silent):
        raise error
    _count(error)


_sending: set[asyncio.Task[None]] = set()
#: Held while a message of a commit in this event loop is sent: those of one commit are in order.
_commit_locks: Final = PerLoop(asyncio.Lock)


def _send_soon(outgoing: Outgoing[Any]) -> None:
    _begin(_asend_now(outgoing))


def _send_in_turn(outgoing: Outgoing[Any]) -> None:
    _begin(_asend_in_turn(outgoing))


async def _asend_in_turn(outgoing: Outgoing[Any]) -> None:
    async with _commit_locks.get():
        await _asend_now(outgoing)


def _begin(sending: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(sending)
    _sending.add(task)
    task.add_done_callback(_note_sent)


def _note_sent(task: asyncio.Task[None]) -> None:
    _sending.discard(task)
    if not task.cancelled():
        try:
            task.result()
        except BackendError as error:
            _count(error)


async def _after_commit_of_caller(outgoing: Outgoing[Any]) -> bool:
    """As :func:`after_commits`, for this thread and for one that waits in ``async_to_sync``."""
    if may_have_waiting_caller():
        deliver = partial(_send_or_count, _send_now, outgoing)
        try:
            if await sync_to_async(after_commits)(deliver):
                return True
        except RuntimeError:
            # The caller has gone on, or runs this very loop: its thread takes no calls.
            logger.debug("A push could not ask its caller for a transaction.")
    return after_commits(partial(_send_or_count, _send_in_turn, outgoing))


def _send_or_count(send_with: _SendWith, outgoing: Outgoing[Any]) -> None:
    """Send ``outgoing`` without an error if Redis does not take it.

    After a commit the data is saved, and the request goes on.
    """
    try:
        send_with(outgoing)
    except BackendError as error:
        _count(error)


def _count(error: BackendError) -> None:
    """Have the log count a push of which its sender learns nothing."""
    outage.count_unsent()
    logger.debug("A push could not be sent: %s", error)
