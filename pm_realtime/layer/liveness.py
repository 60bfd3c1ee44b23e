"""Whether what is sent through the channel layer still arrives at this hub.

A layer may have lost its groups, its subscriptions or its server without telling anybody: pub/sub
reconnects by itself, and what was sent meanwhile is gone. So a hub sends itself a message every
few seconds, and whoever joins a group while that is in doubt waits until it is heard again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from channels.layers import BaseChannelLayer

from pm_realtime.exceptions import OutageError
from pm_realtime.layer import guarded_calls, local
from pm_realtime.layer.adapters import adapter_for
from pm_realtime.layer.contract import SUBSCRIPTIONS
from pm_realtime.layer.groups import probe_group
from pm_realtime.layer.wire import probe_message
from pm_realtime.observability import LAYER, outage

#: Seconds between two echoes; short enough that RedisChannelLayer, which may not wait for longer
#: than redis-py's socket timeout of 5 s, never does.
INTERVAL: Final = 2.0
#: Seconds for which an echo is awaited before the next is sent, and between two tries.
PATIENCE: Final = 0.5
#: Echoes in a row that must be missing, and seconds that must pass, before the layer counts as
#: lost: an event loop that was held up hears late.
TRIES: Final = 2
TIMEOUT: Final = 2.0
#: Seconds for which who joins a group waits for its confirmation behind other messages.
GRACE: Final = 10.0
#: Seconds after which a group that was joined is asked again whether it is; doubled each time.
CONFIRMATION: Final = 0.005
#: Seconds of silence, while what is sent is taken, after which the layer is to dial anew.
REDIAL: Final = 3.0
#: Seconds between two echoes while doubts keep coming in.
SETTLING: Final = 0.05


class LivenessProbe:
    """Belongs to one hub: ``channel`` is the hub's.

    ``mend`` puts its groups into the layer anew, ``tidy`` takes out what it left there. A layer of
    this process is asked only where there is a doubt.
    """

    def __init__(
        self,
        layer: BaseChannelLayer,
        channel: str,
        *,
        mend: Callable[[], Awaitable[None]],
        tidy: Callable[[], Awaitable[None]],
    ) -> None:
        self._layer = layer
        self._channel = channel
        self._mend = mend
        self._tidy = tidy
        self._adapter = adapter_for(layer)
        self._groups = self._adapter.one_group_of_each_server(lambda n: probe_group(channel, n))
        self._interval = None if local.is_in_process(layer) else INTERVAL
        self._number = self._first = 0
        self._missing: set[str] = set()
        self._all_back = asyncio.Event()
        self._is_healthy = asyncio.Event()
        self._is_healthy.set()
        self._is_broken = self._is_listening = False
        self._error: str | None = None
        self._woken = asyncio.Event()
        self.arrivals = 0
        self._confirmations: dict[int, asyncio.Event] = {}

    async def start(self) -> None:
        """Begin to listen. Raises ``BackendError``."""
        if self._interval is not None:
            await self._listen()
        outage.end(SUBSCRIPTIONS)
        outage.end(LAYER)
        self._adapter.report_lost_subscriptions()
        outage.watch(self, self.doubt)

    async def stop(self) -> None:
        """Listen no more."""
        outage.unwatch(self)
        guarded_calls.block(None)
        await self._listen_no_more()

    def doubt(self) -> None:
        """Something failed: let nobody join before the next echo, which is sent now."""
        self._is_healthy.clear()
        self._woken.set()

    def wake(self) -> None:
        """Send an echo now, and tidy up before."""
        self._woken.set()

    def lose(self, error: object) -> None:
        """The layer failed with ``error``."""
        self._is_broken = True
        self.doubt()
        if self._error is None:
            self._error = str(error)
            guarded_calls.block(self._error)
        outage.begin(self, LAYER, error)

    def note_arrival(self) -> None:
        """Something arrived: what is behind it in the queue is late, not lost."""
        self.arrivals += 1

    def hear(self, message: dict[str, Any]) -> None:
        """An echo arrived, perhaps of another hub in the same group."""
        if message["channel"] != self._channel:
            return
        if confirmation := self._confirmations.get(message["number"]):
            confirmation.set()
        elif message["number"] >= self._first:
            self._missing.discard(message["group"])
            if not self._missing:
                self._all_back.set()

    @property
    def is_healthy(self) -> bool:
        """Whether the last echo came back and nothing has failed since."""
        return self._is_healthy.is_set()

    async def until_healthy(self) -> None:
        """Return when the layer brings what is sent; raise ``BackendError`` while it is away."""
        if self._is_healthy.is_set():
            return
        if self._error is not None:
            raise OutageError(self._error)
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._is_healthy.wait()
        except TimeoutError:
            raise OutageError("The channel layer does not bring what is sent.") from None

    async def catch_up(self) -> None:
        """Return when what was sent before now has arrived; raise ``BackendError`` in doubt.

        What a layer of this process brings has no way to go.
        """
        if self._interval is not None:
            self.doubt()
            await self.until_healthy()

    async def confirm(self, group: str) -> None:
        """Return when what is sent to ``group`` arrives; raise ``BackendError`` where nothing does.

        Pub/sub writes SUBSCRIBE to one socket and PUBLISH to another, which may be read first. On
        one server all that was subscribed to before is confirmed as well.
        """
        if self._adapter.confirms_joins:
            return
        self._number += 1
        number, pause = self._number, CONFIRMATION
        confirmation = self._confirmations[number] = asyncio.Event()
        wait = _Wait(self)
        try:
            while not wait.is_vain and wait.seconds < GRACE:
                await self._send(group, number)
                if await _is_set(confirmation, pause):
                    return
                wait.note_miss()
                pause = min(2 * pause, PATIENCE)
        finally:
            del self._confirmations[number]
        raise OutageError("The channel layer does not bring what is sent.")

    @property
    def is_on_one_server(self) -> bool:
        """Whether all groups take the same way."""
        return len(self._groups) == 1

    async def listen_forever(self) -> None:
        """Send an echo every :data:`INTERVAL` seconds, and at once where there is a doubt."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()
            await self._until_back()

    async def _until_back(self) -> None:
        """Send echoes until all of them come back, however long that takes."""
        wait, dialled = _Wait(self), time.monotonic()
        self._first = self._number + 1
        while True:
            self._woken.clear()
            try:
                if self._is_broken:
                    await self._mend_all()
                elif not self._is_listening:
                    await self._listen()
                await self._tidy()
                await self._call()
            except Exception as error:
                wait.note_miss()
                if wait.is_vain or not _is_late(error):
                    self.lose(error)
                elif not wait.is_in_queue:
                    self._is_broken = True
                    self._is_healthy.clear()
                if wait.is_vain and time.monotonic() - dialled >= REDIAL:
                    await self._adapter.reconnect()
                    dialled = time.monotonic()
                await asyncio.sleep(0 if isinstance(error, TimeoutError) else PATIENCE)
            else:
                if not self._woken.is_set():
                    await self._find()
                    return
                await asyncio.sleep(SETTLING)

    async def _mend_all(self) -> None:
        await self._adapter.close_idle()
        await self._listen()
        await self._mend()
        self._is_broken = False

    async def _call(self) -> None:
        """Send an echo to each server and wait for it; ``TimeoutError`` where one is missing."""
        self._number += 1
        self._missing = set(self._groups)
        self._all_back.clear()
        number = self._number
        for group in self._groups:
            await self._send(group, number, is_probe=True)
        if not await _is_set(self._all_back, PATIENCE):
            raise TimeoutError("what is sent to the channel layer does not arrive")

    async def _send(self, group: str, number: int, *, is_probe: bool = False) -> None:
        message = probe_message(group, number, self._channel)
        await guarded_calls.group_send(self._layer, group, message, is_probe=is_probe)

    async def _find(self) -> None:
        self._error = None
        guarded_calls.block(None)
        self._is_healthy.set()
        outage.end(self)
        outage.end(SUBSCRIPTIONS)
        if self._interval is None:
            await self._listen_no_more()

    async def _listen(self) -> None:
        for group in self._groups:
            await guarded_calls.group_add(self._layer, group, self._channel, is_probe=True)
        self._is_listening = True

    async def _listen_no_more(self) -> None:
        if self._is_listening:
            self._is_listening = False
            for group in self._groups:
                with suppress(Exception):
                    await guarded_calls.group_discard(self._layer, group, self._channel)


class _Wait:
    """For an echo: behind other messages it is late, not lost."""

    def __init__(self, echo: LivenessProbe) -> None:
        self._probe = echo
        self._started = time.monotonic()
        self._arrivals = echo.arrivals
        self._misses = 0
        self.is_in_queue = False

    def note_miss(self) -> None:
        """Once more it did not come in time."""
        self.is_in_queue = self._arrivals != self._probe.arrivals
        self._arrivals = self._probe.arrivals
        self._misses = 0 if self.is_in_queue else self._misses + 1

    @property
    def is_vain(self) -> bool:
        """Whether it was missed for too long; an event loop that was held up hears late."""
        return self._misses >= TRIES and self.seconds >= TIMEOUT

    @property
    def seconds(self) -> float:
        """How long it is awaited."""
        return time.monotonic() - self._started


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _is_late(error: Exception) -> bool:
    """Whether something has taken too long, rather than failed."""
    return isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)
