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

from pm_realtime.concurrency import is_set_within
from pm_realtime.layer.adapter import (
    SUBSCRIPTIONS,
    LayerAdapter,
    calls_of_loop,
    outage_error,
    reason_of,
)
from pm_realtime.layer.groups import probe_group
from pm_realtime.layer.wire import PROBE_TYPE, Message
from pm_realtime.observability import LAYER, log_refusal, outage

#: Missed probes in a row before the layer counts as down.
MISSED_PROBES_UNTIL_DOWN: Final = 2
#: Between two probes while failures are reported.
SUSPECT_INTERVAL_SECONDS: Final = 0.05
#: A join is confirmed within this time, even behind other messages.
CONFIRMATION_SECONDS: Final = 10.0
#: Until a confirmation is asked for again; doubled each time.
FIRST_CONFIRMATION_SECONDS: Final = 0.005
#: If the layer takes messages but is down for so long, its sockets are opened again.
RECONNECT_AFTER_SECONDS: Final = 3.0
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


class LivenessProbe:
    """Belongs to one open process channel, ``channel`` in the layer of ``adapter``.

    ``resubscribe`` adds the hub's groups to the layer again, ``unsubscribe_stale`` removes what a
    failed call left there. ``note_doubt`` is called once messages arrive again after some may have
    been lost, and with whether they probably were. A layer of this process is probed only while it
    is suspect.
    """

    def __init__(
        self,
        adapter: LayerAdapter,
        channel: str,
        timings: ProbeTimings,
        *,
        resubscribe: Callable[[], Awaitable[None]],
        unsubscribe_stale: Callable[[], Awaitable[None]],
        note_doubt: Callable[[bool], None],
    ) -> None:
        self.adapter = adapter
        self.channel = channel
        self.timings = timings
        self._resubscribe = resubscribe
        self._unsubscribe_stale = unsubscribe_stale
        self._note_doubt = note_doubt
        self._calls = calls_of_loop.get()
        self._groups = adapter.one_group_of_each_server(lambda n: probe_group(channel, n))
        #: The numbers of the last probe and of the first that counts, and the groups that miss it.
        self._number = self._first = 0
        self._missing: set[str] = set()
        self._confirmations: dict[int, asyncio.Event] = {}
        self._has_arrived, self._is_due = asyncio.Event(), asyncio.Event()
        #: Whether the last probe arrived and nothing has failed since it was sent.
        self.is_healthy = True
        self._is_suspected = False
        #: The rounds of probes that have begun, and by those that wait, how many had by then.
        self._rounds = 0
        self._waiting: dict[asyncio.Event, int] = {}
        self._must_resubscribe = self._is_subscribed = False
        #: Whether messages may have been lost, and probably were.
        self._is_doubtful = self._has_resubscribed = False
        self._reconnects = adapter.reconnects
        #: Kept by the receiver: a probe behind other messages is late, not lost.
        self.deliveries = 0
        self.is_delivering = False

    async def start(self) -> None:
        """Subscribe to the probes. Raises ``BackendError``."""
        if self.adapter.is_remote:
            await self._subscribe()
        outage.end(SUBSCRIPTIONS)
        outage.end(LAYER)
        self.adapter.report_lost_subscriptions()
        outage.watch(self, self.suspect)

    async def stop(self) -> None:
        outage.unwatch(self)
        self._calls.outage_reason = None
        await self._unsubscribe()

    def suspect(self) -> None:
        """Something failed: send a probe now, and let joins wait for it."""
        self.is_healthy = False
        self._is_suspected = self._is_doubtful = True
        self._is_due.set()

    def probe_now(self) -> None:
        """Unsubscribe what is stale and send a probe now."""
        self._is_due.set()

    def mark_down(self, error: Exception) -> None:
        """The layer failed with ``error``."""
        self._must_resubscribe = True
        self.suspect()
        reason = reason_of(error)
        log_refusal(LAYER, reason)
        self._calls.outage_reason = self._calls.outage_reason or reason
        outage.begin(self, LAYER, reason)

    def receive(self, message: Message) -> None:
        """A probe arrived, perhaps one of another hub in the same group."""
        if message["channel"] != self.channel:
            return
        if confirmation := self._confirmations.get(message["number"]):
            confirmation.set()
        elif message["number"] >= self._first:
            self._missing.discard(message["group"])
            if not self._missing:
                self._has_arrived.set()

    async def wait_healthy(self) -> None:
        """Return when messages arrive, even if other calls go on to fail.

        Raises ``BackendError`` if they do not.
        """
        if self.is_healthy:
            return
        self._calls.check_breaker()
        has_arrived = asyncio.Event()
        self._waiting[has_arrived] = self._rounds
        try:
            if not await is_set_within(has_arrived, self.timings.down_after_seconds):
                raise outage_error(NOT_ARRIVING)
        finally:
            self._waiting.pop(has_arrived, None)

    async def catch_up(self) -> None:
        """Return when everything that was sent before now has arrived.

        Raises ``BackendError`` if that is uncertain. Does nothing for a layer of this process.
        """
        if self.adapter.is_remote:
            self.suspect()
            await self.wait_healthy()

    async def confirm(self, group: str, *, is_last: bool) -> None:
        """Return when messages for ``group`` arrive. Raises ``BackendError`` if none does.

        Pub/sub writes SUBSCRIBE to one socket and PUBLISH to another, which the server may read
        first. On one server the last of several groups confirms all of them.
        """
        if self.adapter.confirms_joins or not (is_last or len(self._groups) > 1):
            return
        self._number += 1
        number, pause = self._number, FIRST_CONFIRMATION_SECONDS
        confirmation = self._confirmations[number] = asyncio.Event()
        misses = _Misses(self)
        try:
            while not misses.are_final and misses.seconds < CONFIRMATION_SECONDS:
                await self._send(group, number)
                if await _is_set(confirmation, pause):
                    return
                misses.add(pause)
                pause = min(2 * pause, self.timings.timeout_seconds)
        finally:
            del self._confirmations[number]
        raise outage_error(NOT_ARRIVING)

    async def run(self) -> None:
        """Send a probe at each interval, and at once while the layer is suspect."""
        interval = self.timings.interval_seconds if self.adapter.is_remote else None
        while True:
            await _is_set(self._is_due, interval)
            await self._probe_until_healthy()

    async def _probe_until_healthy(self) -> None:
        misses, reconnected_at = _Misses(self), time.monotonic()
        self._first = self._number + 1
        while True:
            self._is_due.clear()
            self._is_suspected = False
            self._rounds += 1
            try:
                if self._must_resubscribe or self._reconnects != self.adapter.reconnects:
                    await self._subscribe_anew()
                elif not self._is_subscribed:
                    await self._subscribe()
                await self._unsubscribe_stale()
                await self._probe()
            except Exception as error:
                has_waited = isinstance(error, TimeoutError)
                is_timeout = has_waited or isinstance(error.__cause__, TimeoutError)
                in_call = 0.0 if has_waited else self._calls.timeout_seconds
                misses.add(in_call + self.timings.timeout_seconds)
                if misses.are_final or not is_timeout:
                    self.mark_down(error)
                elif not misses.are_late:
                    self._must_resubscribe = self._is_doubtful = True
                    self.is_healthy = False
                seconds = time.monotonic() - reconnected_at
                if misses.are_final and seconds >= RECONNECT_AFTER_SECONDS:
                    await self.adapter.reconnect()
                    reconnected_at = time.monotonic()
                await asyncio.sleep(0 if has_waited else self.timings.timeout_seconds)
            else:
                if not self._must_resubscribe:
                    self._mark_up()
                if not self._is_due.is_set():
                    if not self.adapter.is_remote:
                        await self._unsubscribe()
                    return
                await asyncio.sleep(SUSPECT_INTERVAL_SECONDS)

    async def _subscribe_anew(self) -> None:
        self._reconnects, self._must_resubscribe = self.adapter.reconnects, False
        try:
            await self.adapter.close_idle()
            await self._resubscribe()
            # Last: when a probe arrives, the other groups are subscribed to as well.
            await self._subscribe()
        except BaseException:
            self._must_resubscribe = True
            raise
        self._has_resubscribed = True

    async def _probe(self) -> None:
        """Send a probe through each server. Raises ``TimeoutError`` if one does not arrive."""
        self._number += 1
        self._missing = set(self._groups)
        self._has_arrived.clear()
        number = self._number
        for group in self._groups:
            await self._send(group, number, is_probe=True)
        if not await is_set_within(self._has_arrived, self.timings.timeout_seconds):
            raise TimeoutError(NOT_ARRIVING)

    async def _send(self, group: str, number: int, *, is_probe: bool = False) -> None:
        message = {"type": PROBE_TYPE, "group": group, "number": number, "channel": self.channel}
        await self.adapter.group_send(group, message, is_probe=is_probe)

    def _mark_up(self) -> None:
        """The probes of this round arrived.

        What failed meanwhile asks for another round and holds up nothing else. Otherwise callers
        that fail while the circuit breaker is open would keep it open.
        """
        self._calls.outage_reason = None
        self.is_healthy = not self._is_suspected
        for has_arrived, rounds in self._waiting.items():
            if self.is_healthy or rounds < self._rounds:
                has_arrived.set()
        outage.end(self)
        outage.end(SUBSCRIPTIONS)
        if self._is_doubtful or self._has_resubscribed:
            self._note_doubt(self._has_resubscribed)
            self._is_doubtful, self._has_resubscribed = self._is_suspected, False

    async def _subscribe(self) -> None:
        for group in self._groups:
            await self.adapter.group_add(group, self.channel, is_probe=True)
        self._is_subscribed = True

    async def _unsubscribe(self) -> None:
        if self._is_subscribed:
            self._is_subscribed = False
            for group in self._groups:
                with suppress(Exception):
                    await self.adapter.group_discard(group, self.channel)


class _Misses:
    """The probes in a row that did not arrive in time."""

    def __init__(self, probe: LivenessProbe) -> None:
        self._probe = probe
        #: For which was waited. Time in which the event loop was busy does not count.
        self.seconds = 0.0
        self._deliveries = probe.deliveries
        self._count = 0
        #: Whether other messages were delivered meanwhile, so that the probe may be behind them.
        self.are_late = False

    def add(self, seconds: float) -> None:
        """Note a probe that did not arrive for so long."""
        self.seconds += seconds
        self.are_late = self._probe.is_delivering or self._deliveries != self._probe.deliveries
        self._deliveries = self._probe.deliveries
        self._count = 0 if self.are_late else self._count + 1

    @property
    def are_final(self) -> bool:
        """Whether the layer is down."""
        is_long = self.seconds >= self._probe.timings.down_after_seconds
        return is_long and self._count >= MISSED_PROBES_UNTIL_DOWN


async def _is_set(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether ``event`` is set within ``seconds``, of which a busy event loop may miss some."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
