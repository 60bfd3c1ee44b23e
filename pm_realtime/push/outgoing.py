"""Outgoing messages: sent now or after the commit, from a thread or from an event loop."""

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections, transaction

from pm_realtime import layer
from pm_realtime.concurrency import is_loop_of_a_caller, may_have_waiting_caller
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.observability import outage
from pm_realtime.push.retry_queue import retry_queue

logger = logging.getLogger("pm_realtime.push")

R = TypeVar("R")


class Outgoing(NamedTuple, Generic[R]):
    """A message for a group of the channel layer, and the ``result`` for its sender.

    ``retry`` is the message that is sent later if Redis does not take this one.
    """

    group: str
    message: layer.Message
    result: R
    on_commit: bool
    retry: layer.Message | None = None


def send(outgoing: Outgoing[R]) -> R:
    """Send ``outgoing`` from a thread without a running event loop."""
    deliver = functools.partial(_send_now, outgoing)
    if not (outgoing.on_commit and _after_commit(deliver)):
        deliver()
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
    deliver = functools.partial(send_with, outgoing)
    if not (outgoing.on_commit and _after_commit(deliver)):
        _deliver_or_count(deliver)
    elif before_commit is not None:
        _deliver_or_count(functools.partial(send_with, before_commit))


def _send_now(outgoing: Outgoing[Any]) -> None:
    try:
        layer.send(outgoing.group, outgoing.message)
    except OutageError:
        if outgoing.retry is not None:
            retry_queue.add(outgoing.retry)
        raise


async def _asend_now(outgoing: Outgoing[Any]) -> None:
    try:
        await layer.asend(outgoing.group, outgoing.message)
    except OutageError:
        if outgoing.retry is not None:
            retry_queue.add(outgoing.retry)
        raise


_sending: set[asyncio.Task[None]] = set()


def _send_soon(outgoing: Outgoing[Any]) -> None:
    task = asyncio.get_running_loop().create_task(_asend_now(outgoing))
    _sending.add(task)
    task.add_done_callback(_note_sent)


def _note_sent(task: asyncio.Task[None]) -> None:
    _sending.discard(task)
    if not task.cancelled():
        _deliver_or_count(task.result)


async def _after_commit_of_caller(outgoing: Outgoing[Any]) -> bool:
    """As :func:`_after_commit`, for this thread and for one that waits in ``async_to_sync``."""
    if may_have_waiting_caller():
        deliver = functools.partial(_send_now, outgoing)
        try:
            if await sync_to_async(_after_commit)(deliver):
                return True
        except RuntimeError:
            # The caller has gone on, or runs this very loop: its thread takes no calls.
            logger.debug("A push could not ask its caller for a transaction.")
    return _after_commit(functools.partial(_send_soon, outgoing))


def _after_commit(deliver: Callable[[], None]) -> bool:
    """Have ``deliver`` called when every transaction open in this thread is committed.

    Returns False if none is open. A failure after the commit does not raise: the data is saved, and
    the request goes on. The log counts the pushes that Redis did not take.
    """
    opened = [db.alias for db in connections.all(initialized_only=True) if db.in_atomic_block]

    def deliver_after_commits(aliases: list[str]) -> None:
        if aliases:
            transaction.on_commit(
                lambda: deliver_after_commits(aliases[:-1]), using=aliases[-1], robust=True
            )
        else:
            _deliver_or_count(deliver)

    if opened:
        deliver_after_commits(opened)
    return bool(opened)


def _deliver_or_count(deliver: Callable[[], None]) -> None:
    try:
        deliver()
    except BackendError as error:
        outage.count_unsent()
        logger.debug("A push could not be sent: %s", error)
