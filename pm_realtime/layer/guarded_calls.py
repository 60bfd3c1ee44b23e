"""Calls of an event loop to the channel layer: few at once, bounded in time, refused in an outage.

A layer outside of this process may fail or not answer. Every call raises ``BackendError`` then, and
at once while the circuit breaker is open.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar, cast

from channels.layers import BaseChannelLayer

from pm_realtime.concurrency import BoundedCalls, PerLoop
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer.adapters import adapter_for
from pm_realtime.layer.local import is_in_process
from pm_realtime.layer.wire import Message
from pm_realtime.redis import is_lost_connection

R = TypeVar("R")

LAYER_CALL_TIMEOUT_SECONDS: Final = 1.5
#: Calls of one event loop at once; each may need a connection of its own.
MAX_LAYER_CALLS: Final = 6
#: Seconds between an attempt to open a channel that failed and the next one.
OPEN_RETRY_SECONDS: Final = 0.5
#: The beginning of the names of our channels.
CHANNEL_PREFIX: Final = "pm_realtime."
#: The beginning of each error text: a site that pushes sees what failed.
_ERROR_PREFIX: Final = "The channel layer: "


class GuardedCalls:
    """Those of one event loop."""

    def __init__(self, timeout_seconds: float = LAYER_CALL_TIMEOUT_SECONDS) -> None:
        self._calls = BoundedCalls(MAX_LAYER_CALLS, timeout_seconds)
        #: None while the circuit breaker is closed.
        self.outage_reason: str | None = None
        self.may_open_at = 0.0

    async def run(self, call: Callable[[], Awaitable[R]], *, is_probe: bool) -> R:
        try:
            if is_probe:
                return await self._calls.run_at_once(call)
            self._check_breaker()
            return await self._calls.run(partial(self._run_if_closed, call))
        except BackendError:
            raise
        except Exception as error:
            kind = OutageError if is_lost_connection(error) else BackendError
            raise kind(_ERROR_PREFIX + reason_of(error)) from error

    async def _run_if_closed(self, call: Callable[[], Awaitable[R]]) -> R:
        self._check_breaker()
        return await call()

    def _check_breaker(self) -> None:
        if self.outage_reason is not None:
            raise outage_error(self.outage_reason)


#: The guarded calls of each event loop.
calls_of_loop: Final = PerLoop(GuardedCalls)


def outage_error(reason: str) -> OutageError:
    """An error for callers that the layer fails because of ``reason``."""
    return OutageError(_ERROR_PREFIX + reason)


def reason_of(error: Exception) -> str:
    """The text of ``error`` for a log line that already names the layer."""
    if isinstance(error, BackendError):
        return str(error).removeprefix(_ERROR_PREFIX)
    return str(error) if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"


def open_breaker(reason: str) -> None:
    """Refuse the calls of the running loop from now on, except for probes."""
    calls_of_loop.get().outage_reason = reason


def close_breaker() -> None:
    """Let the calls of the running loop through again."""
    calls_of_loop.get().outage_reason = None


async def group_add(
    layer: BaseChannelLayer, group: str, channel: str, *, is_probe: bool = False
) -> None:
    """Add ``channel`` to ``group``. Like all calls here, raises ``BackendError``.

    A probe is tried even if the circuit breaker is open.
    """
    await _run(layer, partial(layer.group_add, group, channel), is_probe)


async def group_discard(
    layer: BaseChannelLayer, group: str, channel: str, *, is_probe: bool = False
) -> None:
    """Take ``channel`` out of ``group``."""
    await _run(layer, partial(layer.group_discard, group, channel), is_probe)


async def group_send(
    layer: BaseChannelLayer, group: str, message: Message, *, is_probe: bool = False
) -> None:
    """Send ``message`` to ``group``."""
    await _run(layer, partial(layer.group_send, group, message), is_probe)


async def new_channel(layer: BaseChannelLayer) -> str:
    """A channel for the hub of the running loop, which has no other."""
    try:
        return await _run(layer, partial(cast("Any", layer).new_channel, CHANNEL_PREFIX), False)
    except BaseException:
        adapter_for(layer).forget_failed_channels(CHANNEL_PREFIX)
        raise


def check_may_open() -> None:
    """Raise ``BackendError`` if a channel could not be opened a moment ago."""
    if time.monotonic() < calls_of_loop.get().may_open_at:
        raise outage_error("it was away a moment ago")


def note_failed_open() -> None:
    """Refuse further attempts for a moment: each that fails leaves something in the layer."""
    calls_of_loop.get().may_open_at = time.monotonic() + OPEN_RETRY_SECONDS


async def _run(layer: BaseChannelLayer, call: Callable[[], Awaitable[R]], is_probe: bool) -> R:
    if is_in_process(layer):
        return await call()
    return await calls_of_loop.get().run(call, is_probe=is_probe)
