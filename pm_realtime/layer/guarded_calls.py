"""Each step that an event loop takes with the channel layer: bounded in time, refused in an outage.

A layer outside of this process may fail or not answer. Every step raises ``BackendError`` then, and
while the layer is known to be away it does so at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from channels.layers import BaseChannelLayer

from pm_realtime.concurrency import BoundedCalls
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer.adapters import adapter_for
from pm_realtime.layer.local import is_in_process
from pm_realtime.layer.wire import Message
from pm_realtime.redis import is_lost_connection

R = TypeVar("R")

#: Seconds that one step may take with a layer outside of this process.
TIMEOUT: Final = 1.5
#: Steps of one event loop that may be under way at once; each may need a connection of its own.
SLOTS: Final = 6
#: How the names of our channels begin.
PREFIX: Final = "pm_realtime."
#: Seconds after a vain try to begin before the next one.
PAUSE: Final = 0.5


class _Guard:
    """The way from one event loop to a layer outside of this process."""

    def __init__(self) -> None:
        self.calls = BoundedCalls(SLOTS, TIMEOUT)
        #: Why nothing is sent for now.
        self.block: str | None = None
        self.start_from = 0.0

    async def go(self, step: Callable[[], Awaitable[R]], *, is_probe: bool) -> R:
        try:
            if is_probe:
                return await self.calls.run_at_once(step)
            self._check_block()
            return await self.calls.run(partial(self._go_unless_blocked, step))
        except BackendError:
            raise
        except Exception as error:
            kind = OutageError if is_lost_connection(error) else BackendError
            what = str(error) if isinstance(error, TimeoutError) else _describe(error)
            raise kind(f"The channel layer: {what}") from error

    async def _go_unless_blocked(self, step: Callable[[], Awaitable[R]]) -> R:
        self._check_block()
        return await step()

    def _check_block(self) -> None:
        if self.block is not None:
            raise OutageError(self.block)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


_guards: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Guard]] = WeakKeyDictionary()


def _guard() -> _Guard:
    loop = asyncio.get_running_loop()
    road = _guards.get(loop)
    if road is None:
        road = _guards[loop] = _Guard()
    return road


def block(reason: str | None) -> None:
    """Refuse at once what the running loop would do with the layer, until ``None`` is given."""
    _guard().block = reason


async def group_add(
    layer: BaseChannelLayer, group: str, channel: str, *, is_probe: bool = False
) -> None:
    """Add ``channel`` to ``group``, in time. As all of these, raises ``BackendError``.

    A probe is tried even while the layer is known to be away.
    """
    await _go(layer, partial(layer.group_add, group, channel), is_probe)


async def group_discard(
    layer: BaseChannelLayer, group: str, channel: str, *, is_probe: bool = False
) -> None:
    """Take ``channel`` out of ``group``, in time."""
    await _go(layer, partial(layer.group_discard, group, channel), is_probe)


async def group_send(
    layer: BaseChannelLayer, group: str, message: Message, *, is_probe: bool = False
) -> None:
    """Send ``message`` to ``group``, in time."""
    await _go(layer, partial(layer.group_send, group, message), is_probe)


async def new_channel(layer: BaseChannelLayer) -> str:
    """A channel for the hub of the running loop, which has no other, in time."""
    try:
        return await _go(layer, partial(cast("Any", layer).new_channel, PREFIX), False)
    except BaseException:
        adapter_for(layer).forget_failed_channels(PREFIX)
        raise


def check_start() -> None:
    """Raise ``BackendError`` where somebody tried in vain to begin with the layer just now."""
    if time.monotonic() < _guard().start_from:
        raise OutageError("The channel layer was away a moment ago.")


def note_vain_start() -> None:
    """Nobody is to try for a moment: each vain try leaves something in the layer."""
    _guard().start_from = time.monotonic() + PAUSE


async def _go(layer: BaseChannelLayer, step: Callable[[], Awaitable[R]], is_probe: bool) -> R:
    if is_in_process(layer):
        return await step()
    return await _guard().go(step, is_probe=is_probe)
