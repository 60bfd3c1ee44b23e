"""Messages on their way into the channel layer: now or after the commit, from thread or loop.

An order is one that must not be lost: what it says of a right holds for those, too, who are only
now on their way into the group it is for.
"""

import asyncio
import functools
import logging
import secrets
from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections, transaction

from pm_realtime import layers, transport
from pm_realtime.arrears import Arrears
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.groups import authenticated_group, orders_group
from pm_realtime.outage import outage
from pm_realtime.protocol import Envelope
from pm_realtime.threads import is_loop_of_a_caller, may_have_waiting_caller

logger = logging.getLogger("pm_realtime.push")

R = TypeVar("R")

#: The order that announces another, and the argument by which the two belong together.
ANNOUNCEMENT: Final = "doubt"
CHANGE: Final = "change"


class Parcel(NamedTuple, Generic[R]):
    """A message for a group of the channel layer, and what its sender gets back."""

    group: str
    message: layers.Message
    result: R
    on_commit: bool


def send(parcel: Parcel[R]) -> R:
    """Send ``parcel`` from a thread without a running event loop."""
    _log(parcel)
    deliver = functools.partial(_send_now, parcel.group, parcel.message)
    if not (parcel.on_commit and _after_commit(deliver)):
        deliver()
    return parcel.result


async def asend(parcel: Parcel[R]) -> R:
    """Send ``parcel`` from the running event loop."""
    _log(parcel)
    if not (parcel.on_commit and await _after_commit_of_caller(parcel)):
        await _asend_now(parcel.group, parcel.message)
    return parcel.result


def _send_now(group: str, message: layers.Message) -> None:
    try:
        transport.send(group, message)
    except OutageError:
        _owe(message)
        raise


async def _asend_now(group: str, message: layers.Message) -> None:
    try:
        await transport.asend(group, message)
    except OutageError:
        _owe(message)
        raise


def _owe(message: layers.Message) -> None:
    """Of what Redis does not take, an order is not lost: a right would outlive its end.

    What an order announced has come to pass by then.
    """
    if "target" in message and message["instruction"] != ANNOUNCEMENT:
        arguments = {name: value for name, value in message["arguments"].items() if name != CHANGE}
        _arrears.owe({**message, "arguments": arguments})


def _log(parcel: Parcel[Any]) -> None:
    if isinstance(parcel.result, Envelope) and logger.isEnabledFor(logging.DEBUG):
        about = {"type": parcel.result.type, "group": parcel.group}
        logger.debug("Pushes %(type)r to %(group)s.", about, extra=about)


async def _after_commit_of_caller(parcel: Parcel[Any]) -> bool:
    """As :func:`_after_commit`, for this thread and for one that waits in ``async_to_sync``."""
    if may_have_waiting_caller():
        deliver = functools.partial(_send_now, parcel.group, parcel.message)
        try:
            if await sync_to_async(_after_commit)(deliver):
                return True
        except RuntimeError:
            # The caller has gone, or runs this very loop: its thread takes no calls.
            logger.debug("A push could not ask its caller for a transaction.")
    return _after_commit(functools.partial(_send_soon, parcel.group, parcel.message))


def _after_commit(deliver: Callable[[], None]) -> bool:
    """Have ``deliver`` called once every transaction open in this thread is committed.

    False where none is open. A failure then is raised nowhere: the data is saved, and the request
    that saved it goes on. The log counts the pushes that Redis did not take.
    """
    deliver = _named(_deliver_or_count, deliver)
    opened = [db.alias for db in connections.all(initialized_only=True) if db.in_atomic_block]
    for alias in opened:
        deliver = _named(transaction.on_commit, deliver, using=alias, robust=True)
    if opened:
        deliver()
    return bool(opened)


def _named(function: Callable[..., None], *args: Any, **kwargs: Any) -> Callable[[], None]:
    """A partial with a name: Django's log asks for that of whatever fails after the commit."""
    return functools.update_wrapper(functools.partial(function, *args, **kwargs), function)


def _deliver_or_count(deliver: Callable[[], None]) -> None:
    try:
        deliver()
    except BackendError as error:
        _count_unsent(error)


def _count_unsent(error: BackendError) -> None:
    outage.count_unsent()
    logger.debug("A push could not be sent: %s", error)


def tell_change(target: str) -> None:
    """Have the members of ``target`` refresh after the commit; otherwise as :func:`tell`.

    Nothing that is sent after the commit overtakes the order, as it is announced before.
    """
    change = secrets.token_hex(8)
    announcement = order(target, ANNOUNCEMENT, on_commit=False, change=change)
    tell(order(target, "refresh", change=change), announcement)


def tell(parcel: Parcel[None], announcement: Parcel[None] | None = None) -> None:
    """Send ``parcel`` from wherever Django sends a signal: any thread, or a running event loop.

    Where it waits for a commit, ``announcement`` is sent before. Never fails and never waits for
    long: what Redis does not take is counted in the log.
    """
    if transport.is_alone():
        return
    # A loop that runs for one caller only ends before it would send: an async view under WSGI.
    way = _send_soon if _is_in_lasting_loop() else _send_now
    deliver = functools.partial(way, parcel.group, parcel.message)
    if not (parcel.on_commit and _after_commit(deliver)):
        _deliver_or_count(deliver)
    elif announcement is not None:
        _deliver_or_count(functools.partial(way, announcement.group, announcement.message))


def _is_in_lasting_loop() -> bool:
    try:
        return not is_loop_of_a_caller()
    except RuntimeError:
        return False


_deliveries: set[asyncio.Task[None]] = set()


def _send_soon(group: str, message: layers.Message) -> None:
    task = asyncio.get_running_loop().create_task(_asend_or_count(group, message))
    _deliveries.add(task)
    task.add_done_callback(_deliveries.discard)


async def _asend_or_count(group: str, message: layers.Message) -> None:
    try:
        await _asend_now(group, message)
    except BackendError as error:
        _count_unsent(error)


def order(
    target: str, instruction: str, *, on_commit: bool = True, **arguments: Any
) -> Parcel[None]:
    """An instruction to the members of the group ``target``, sent to every process.

    It also reaches a connection that is only now on its way into the
    group: each hub remembers for a while what it heard.
    """
    message = {
        "type": layers.INSTRUCT,
        "group": orders_group(),
        "target": target,
        "instruction": instruction,
        "arguments": arguments,
    }
    return Parcel(orders_group(), message, None, on_commit)


_arrears: Final = Arrears(order(authenticated_group(), "recheck").message)
