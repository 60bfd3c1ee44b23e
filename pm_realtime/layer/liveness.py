"""Whether messages that are sent through the channel layer still arrive at this hub.

A layer may lose its groups, its subscriptions or its server without an error: pub/sub reconnects by
itself, and everything that was sent meanwhile is gone. So a hub sends itself a probe every few
seconds. While the layer is suspect, a join waits until a probe has arrived.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from channels.layers import BaseChannelLayer

from pm_realtime.layer import guarded_calls
from pm_realtime.layer.adapters import adapter_for
from pm_realtime.layer.contract import SUBSCRIPTIONS
from pm_realtime.layer.groups import probe_group
from pm_realtime.layer.local import is_in_process
from pm_realtime.layer.wire import Message, probe_message
from pm_realtime.observability import LAYER, outage

#: Missed probes in a row before the layer counts as down.
MISSED_PROBES_UNTIL_DOWN: Final = 2
NOT_ARRIVING: Final = "messages that are sent do not arrive"


@dataclass(frozen=True)
class ProbeTimings:
    """The timings of a liveness probe."""

    #: Between two probes. The core layer must get a message within redis-py's socket timeout.
    interval_seconds: float = 2.0
    #: A probe that takes longer is missed, and the next one is sent.
    timeout_seconds: float = 0.5
    #: Without a probe for so long the layer is down: an event loop that was held up receives late.
    down_after_seconds: float = 2.0
    #: A join is confirmed within this time, even behind other messages.
    confirmation_seconds: float = 10.0
    #: Until a confirmation is asked for again; doubled each time.
    first_confirmation_seconds: float = 0.005
    #: If the layer takes messages but is down for so long, its sockets are opened again.
    reconnect_after_seconds: float = 3.0
    #: Between two probes while failures are reported.
    suspect_interval_seconds: float = 0.05


PROBE_TIMINGS: Final = ProbeTimings()


class LivenessProbe:
    """Belongs to one hub: ``channel`` is the hub's.

    ``resubscribe`` adds the hub's groups to the layer again, ``unsubscribe_stale`` removes what a
    failed call left there. A layer of this process is probed only while it is suspect.
    """

    def __init__(
        self,
        layer: BaseChannelLayer,
        channel: str,
        *,
        resubscribe: Callable[[], Awaitable[None]],
        unsubscribe_stale: Callable[[], Awaitable[None]],
        timings: ProbeTimings = PROBE_TIMINGS,
    ) -> None:
        self._layer = layer
        self._channel = channel
        self._resubscribe_hub = resubscribe
        self._unsubscribe_stale = unsubscribe_stale
        self._timings = timings
        self._adapter = adapter_for(layer)
        self._groups = self._adapter.one_group_of_each_server(lambda n: probe_group(channel, n))
        self._interval = None if is_in_process(layer) else timings.interval_seconds
        #: The numbers of the last probe and of the first that counts, and the groups that miss it.
        self._number = self._first = 0
        self._missing: set[str] = set()
        self._confirmations: dict[int, asyncio.Event] = {}
        self._has_arrived, self._is_due = asyncio.Event(), asyncio.Event()
        self._is_healthy = asyncio.Event()
        self._is_healthy.set()
        self._must_resubscribe = self._is_subscribed = False
        self._down_reason: str | None = None
        #: Kept by the receiver: a probe behind other messages is late, not lost.
        self.deliveries = 0
        self.is_delivering = False

    async def start(self) -> None:
        """Subscribe to the probes. Raises ``BackendError``."""
        if self._interval is not None:
            await self._subscribe()
        outage.end(SUBSCRIPTIONS)
        outage.end(LAYER)
        self._adapter.report_lost_subscriptions()
        outage.watch(self, self.suspect)

    async def stop(self) -> None:
        outage.unwatch(self)
        guarded_calls.close_breaker()
        await self._unsubscribe()

    def suspect(self) -> None:
        """Something failed: send a probe now, and let joins wait for it."""
        self._is_healthy.clear()
        self._is_due.set()

    def probe_now(self) -> None:
        """Unsubscribe what is stale and send a probe now."""
        self._is_due.set()

    def mark_down(self, error: Exception) -> None:
        """The layer failed with ``error``."""
        self._must_resubscribe = True
        self.suspect()
        reason = guarded_calls.reason_of(error)
        if self._down_reason is None:
            self._down_reason = reason
            guarded_calls.open_breaker(reason)
        outage.begin(self, LAYER, reason)

    def receive(self, message: Message) -> None:
        """A probe arrived, perhaps one of another hub in the same group."""
        if message["channel"] != self._channel:
            return
        if confirmation := self._confirmations.get(message["number"]):
            confirmation.set()
        elif message["number"] >= self._first:
            self._missing.discard(message["group"])
            if not self._missing:
                self._has_arrived.set()

    @property
    def is_healthy(self) -> bool:
        """Whether the last probe arrived and nothing has failed since."""
        return self._is_healthy.is_set()

    @property
    def is_on_one_server(self) -> bool:
        return len(self._groups) == 1

    async def wait_healthy(self) -> None:
        """Return when messages arrive. Raises ``BackendError`` if they do not."""
        if self._is_healthy.is_set():
            return
        if self._down_reason is not None:
            raise guarded_calls.outage_error(self._down_reason)
        if not await _is_set(self._is_healthy, self._timings.down_after_seconds):
            raise guarded_calls.outage_error(NOT_ARRIVING)

    async def catch_up(self) -> None:
        """Return when everything that was sent before now has arrived.

        Raises ``BackendError`` if that is uncertain. Does nothing for a layer of this process.
        """
        if self._interval is not None:
            self.suspect()
            await self.wait_healthy()

    async def confirm(self, group: str) -> None:
        """Return when messages for ``group`` arrive. Raises ``BackendError`` if none does.

        Pub/sub writes SUBSCRIBE to one socket and PUBLISH to another, which the server may read
        first. On one server this confirms all earlier subscriptions as well.
        """
        if self._adapter.confirms_joins:
            return
        self._number += 1
        number, pause = self._number, self._timings.first_confirmation_seconds
        confirmation = self._confirmations[number] = asyncio.Event()
        misses = _Misses(self, self._timings)
        try:
            while not misses.are_final and misses.seconds < self._timings.confirmation_seconds:
                await self._send(group, number)
                if await _is_set(confirmation, pause):
                    return
                misses.add()
                pause = min(2 * pause, self._timings.timeout_seconds)
        finally:
            del self._confirmations[number]
        raise guarded_calls.outage_error(NOT_ARRIVING)

    async def run(self) -> None:
        """Send a probe at each interval, and at once while the layer is suspect."""
        while True:
            await _is_set(self._is_due, self._interval)
            await self._probe_until_healthy()

    async def _probe_until_healthy(self) -> None:
        misses, reconnected_at = _Misses(self, self._timings), time.monotonic()
        self._first = self._number + 1
        while True:
            self._is_due.clear()
            try:
                if self._must_resubscribe:
                    await self._resubscribe()
                elif not self._is_subscribed:
                    await self._subscribe()
                await self._unsubscribe_stale()
                await self._probe()
            except Exception as error:
                misses.add()
                if misses.are_final or not _is_timeout(error):
                    self.mark_down(error)
                elif not misses.are_late:
                    self._must_resubscribe = True
                    self._is_healthy.clear()
                seconds = time.monotonic() - reconnected_at
                if misses.are_final and seconds >= self._timings.reconnect_after_seconds:
                    await self._adapter.reconnect()
                    reconnected_at = time.monotonic()
                has_waited = isinstance(error, TimeoutError)
                await asyncio.sleep(0 if has_waited else self._timings.timeout_seconds)
            else:
                if not self._is_due.is_set():
                    await self._mark_up()
                    return
                await asyncio.sleep(self._timings.suspect_interval_seconds)

    async def _resubscribe(self) -> None:
        await self._adapter.close_idle()
        await self._subscribe()
        await self._resubscribe_hub()
        self._must_resubscribe = False

    async def _probe(self) -> None:
        """Send a probe through each server. Raises ``TimeoutError`` if one does not arrive."""
        self._number += 1
        self._missing = set(self._groups)
        self._has_arrived.clear()
        number = self._number
        for group in self._groups:
            await self._send(group, number, is_probe=True)
        if not await _is_set(self._has_arrived, self._timings.timeout_seconds):
            raise TimeoutError(NOT_ARRIVING)

    async def _send(self, group: str, number: int, *, is_probe: bool = False) -> None:
        message = probe_message(group, number, self._channel)
        await guarded_calls.group_send(self._layer, group, message, is_probe=is_probe)

    async def _mark_up(self) -> None:
        self._down_reason = None
        guarded_calls.close_breaker()
        self._is_healthy.set()
        outage.end(self)
        outage.end(SUBSCRIPTIONS)
        if self._interval is None:
            await self._unsubscribe()

    async def _subscribe(self) -> None:
        for group in self._groups:
            await guarded_calls.group_add(self._layer, group, self._channel, is_probe=True)
        self._is_subscribed = True

    async def _unsubscribe(self) -> None:
        if self._is_subscribed:
            self._is_subscribed = False
            for group in self._groups:
                with suppress(Exception):
                    await guarded_calls.group_discard(self._layer, group, self._channel)


class _Misses:
    """The probes in a row that did not arrive in time."""

    def __init__(self, probe: LivenessProbe, timings: ProbeTimings) -> None:
        self._probe = probe
        self._down_after_seconds = timings.down_after_seconds
        self._began_at = time.monotonic()
        self._deliveries = probe.deliveries
        self._count = 0
        #: Whether other messages were delivered meanwhile, so that the probe may be behind them.
        self.are_late = False

    def add(self) -> None:
        self.are_late = self._probe.is_delivering or self._deliveries != self._probe.deliveries
        self._deliveries = self._probe.deliveries
        self._count = 0 if self.are_late else self._count + 1

    @property
    def are_final(self) -> bool:
        """Whether the layer is down."""
        is_long = self.seconds >= self._down_after_seconds
        return is_long and self._count >= MISSED_PROBES_UNTIL_DOWN

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began_at


async def _is_set(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether ``event`` is set within ``seconds``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _is_timeout(error: Exception) -> bool:
    """Whether a call has taken too long, rather than failed."""
    return isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)
