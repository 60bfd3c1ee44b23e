"""The one channel over which a channel layer reaches an event loop, and its groups in the layer."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any, Final

from pm_realtime.exceptions import OutageError
from pm_realtime.layer import sending
from pm_realtime.layer.adapter import (
    LAYER_CALL_TIMEOUT_SECONDS,
    LayerAdapter,
    calls_of_loop,
    outage_error,
    reason_of,
)
from pm_realtime.layer.liveness import LivenessProbe, ProbeTimings
from pm_realtime.layer.memberships import Groups
from pm_realtime.layer.receiver import MessageHandler, Receiver
from pm_realtime.layer.selection import adapter_for, get_layer
from pm_realtime.observability import LAYER, outage

logger = logging.getLogger("pm_realtime.push")

#: Seconds between an attempt to open a channel that failed, which leaves something in the layer,
#: and the next one.
OPEN_RETRY_SECONDS: Final = 0.5
#: Seconds after which the sockets of a closed channel are idle; before, the layer may still read.
IDLE_SOCKET_SECONDS: Final = 2.0
#: Seconds after which a call that was given up has no effect on the server any more.
LATE_CALL_SECONDS: Final = 10.0


class ProcessChannel:
    """Belongs to one hub: ``groups`` are the hub's, ``handler`` gets what arrives for them."""

    _receiver: Receiver
    _receiving: asyncio.Task[None]
    _probing: asyncio.Task[None]

    def __init__(self, groups: Groups[Any], handler: MessageHandler, timings: ProbeTimings) -> None:
        self._groups = groups
        self._handler = handler
        self._timings = timings
        #: None while the channel is closed.
        self._probe: LivenessProbe | None = None
        #: Groups of which the layer may have another picture, and when they are to be put right
        #: once more (monotonic seconds), which stays a while longer.
        self._stale: set[str] = set()
        self._late: dict[str, float] = {}
        #: When the groups were last added to the layer (monotonic seconds).
        self._renewed_at = 0.0

    @property
    def is_healthy(self) -> bool:
        """Whether messages arrive, as far as is known."""
        return self._probe is not None and self._probe.is_healthy

    async def open(self) -> None:
        """Begin to receive. Raises ``BackendError`` while the layer is away."""
        adapter, calls = adapter_for(get_layer()), calls_of_loop.get()
        if time.monotonic() < calls.may_open_at:
            raise outage_error("it was away a moment ago")
        try:
            # After a restart of Redis each socket that was not used meanwhile fails once.
            if time.monotonic() - calls.closed_at >= IDLE_SOCKET_SECONDS:
                await adapter.close_idle()
            try:
                probe = await self._start_probe(adapter)
            except OutageError:
                await adapter.close_idle()
                probe = await self._start_probe(adapter)
        except Exception as error:
            calls.may_open_at = time.monotonic() + OPEN_RETRY_SECONDS
            outage.begin(LAYER, LAYER, reason_of(error))
            raise
        loop = asyncio.get_running_loop()
        sending.start_serving(loop)
        self._probe, self._renewed_at = probe, time.monotonic()
        self._receiver = Receiver(probe, self._groups, self._handler, self.note_stale)
        self._receiving = loop.create_task(self._receiver.run())
        self._probing = loop.create_task(probe.run())

    async def _start_probe(self, adapter: LayerAdapter) -> LivenessProbe:
        probe = LivenessProbe(
            adapter,
            await adapter.new_channel(),
            self._timings,
            resubscribe=self.resubscribe,
            unsubscribe_stale=self._unsubscribe_stale,
            note_doubt=self._handler.note_doubt,
        )
        await probe.start()
        return probe

    async def close(self, *users: asyncio.Task[None]) -> None:
        """Stop receiving and leave nothing in the layer. Tasks that use the channel end too."""
        probe, self._probe = self._probe, None
        if probe is None:
            return
        loop = asyncio.get_running_loop()
        sending.stop_serving(loop)
        tasks = {self._receiving, self._probing, *users}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=LAYER_CALL_TIMEOUT_SECONDS)
        calls_of_loop.get().closed_at = time.monotonic()
        probe.adapter.forget_channel(probe.channel)
        for group in list(self._late):
            with suppress(Exception):
                await probe.adapter.group_discard(group, probe.channel)
        is_away = not probe.is_healthy
        await probe.stop()
        if is_away:
            await probe.adapter.close_idle()

    async def wait_healthy(self) -> None:
        """Return when messages arrive. Raises ``BackendError`` while they do not.

        Raises ``LookupError`` if the channel is closed.
        """
        await self._open_probe().wait_healthy()

    def _open_probe(self) -> LivenessProbe:
        if self._probe is None:
            raise LookupError("the hub has stopped")
        return self._probe

    async def catch_up(self) -> None:
        """Return when everything that was sent before now is delivered.

        Raises ``BackendError`` if that is uncertain. Joins wait meanwhile.
        """
        if self._probe is not None:
            await self._probe.catch_up()

    async def add(self, group: str, *, is_last: bool) -> None:
        """Receive the messages of ``group``; its lock is held by the caller.

        If another group is added right after it, it need not be the one that confirms both.
        Raises as :meth:`wait_healthy` does.
        """
        probe = self._open_probe()
        try:
            await probe.adapter.group_add(group, probe.channel)
            await probe.confirm(group, is_last=is_last)
            await self.wait_healthy()
        except BaseException:
            self.note_stale(group)
            raise

    async def discard(self, group: str) -> None:
        """Receive no more messages of ``group``, if it still has no members.

        If that fails, the group is stale until the layer is back.
        """
        with self._groups.using(group) as entry:
            try:
                async with entry.lock:
                    if not entry.has_members and (probe := self._probe) is not None:
                        entry.is_added = False
                        await probe.adapter.group_discard(group, probe.channel)
            except BaseException as error:
                self.note_stale(group)
                if not isinstance(error, Exception):
                    raise
                logger.debug("A group could not be left in the channel layer: %r", error)

    def note_stale(self, group: str) -> None:
        """Note that the layer may or may not have the channel in ``group``."""
        self._stale.add(group)
        self._late[group] = time.monotonic() + LATE_CALL_SECONDS
        if self._probe is not None:
            self._probe.probe_now()

    async def _unsubscribe_stale(self) -> None:
        """Make the layer agree with the hub about stale groups, now and once more after a while.

        A call that was given up may still reach the server, after the calls that followed it.
        """
        now = time.monotonic()
        late = {group for group, at in self._late.items() if at <= now}
        for group in self._stale | late:
            at = self._late[group]
            with self._groups.using(group) as entry:
                async with entry.lock:
                    if (probe := self._probe) is not None:
                        # RedisPubSubChannelLayer leaves a group only if it was added in full.
                        await probe.adapter.group_add(group, probe.channel, is_probe=True)
                        if not entry.has_members:
                            entry.is_added = False
                            await probe.adapter.group_discard(group, probe.channel, is_probe=True)
            if self._late[group] == at:  # Otherwise it has become stale again.
                self._stale.discard(group)
                if group in late:
                    del self._late[group]

    async def resubscribe(self) -> None:
        """Add all groups with members to the layer again. Raises ``BackendError``."""
        if (probe := self._probe) is not None:
            self._renewed_at = time.monotonic()
            for group, entry in list(self._groups.items()):
                if entry.has_members:
                    await probe.adapter.group_add(group, probe.channel, is_probe=True)

    async def renew(self) -> None:
        """Resubscribe if the layer is about to forget the groups. Raises ``BackendError``."""
        if (probe := self._probe) is not None:
            expiry = getattr(probe.adapter.layer, "group_expiry", None)
            if expiry and time.monotonic() - self._renewed_at > expiry / 2:
                await self.resubscribe()
                self._handler.note_doubt(True)

    def restart_receiver(self) -> None:
        """Receive again if the ``send`` of a middleware has cancelled its caller.

        A message may have waited for its delivery just then: its stream has it.
        """
        if self._probe is not None and self._receiving.done():
            logger.error("The receiver of the channel layer was cancelled; it starts again.")
            self._receiving = asyncio.get_running_loop().create_task(self._receiver.run())
            self._handler.note_doubt(False)
