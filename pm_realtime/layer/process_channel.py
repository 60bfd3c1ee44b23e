"""The one channel over which a channel layer reaches an event loop, and its groups in the layer."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from channels.layers import BaseChannelLayer

from pm_realtime.exceptions import OutageError
from pm_realtime.layer import guarded_calls, sending
from pm_realtime.layer.adapters import adapter_for
from pm_realtime.layer.liveness import PROBE_TIMINGS, LivenessProbe, ProbeTimings
from pm_realtime.layer.local import get_layer
from pm_realtime.layer.memberships import Groups
from pm_realtime.layer.receiver import MessageHandler, Receiver
from pm_realtime.observability import LAYER, outage

logger = logging.getLogger("pm_realtime.push")

#: Seconds after which the sockets of a closed channel are idle; before, the layer may still read.
IDLE_SOCKET_SECONDS: Final = 2.0
#: Seconds after which a call that was given up has no effect on the server any more.
LATE_CALL_SECONDS: Final = 10.0

#: When the last channel of each event loop was closed (monotonic seconds).
_closed_at: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, float]] = WeakKeyDictionary()


@dataclass
class _Opened:
    """The state of a channel that is open."""

    layer: BaseChannelLayer
    name: str
    probe: LivenessProbe
    receiver: Receiver
    receiving: asyncio.Task[None]
    probing: asyncio.Task[None]
    #: When the groups were last added to the layer (monotonic seconds).
    renewed_at: float = field(default_factory=time.monotonic)


class ProcessChannel:
    """Belongs to one hub: ``groups`` are the hub's, ``handler`` gets what arrives for them."""

    def __init__(
        self, groups: Groups[Any], handler: MessageHandler, timings: ProbeTimings = PROBE_TIMINGS
    ) -> None:
        self._groups = groups
        self._handler = handler
        self._timings = timings
        self._opened: _Opened | None = None
        #: Groups of which the layer may have another picture, since when (monotonic seconds).
        self._stale: dict[str, float] = {}

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    @property
    def is_healthy(self) -> bool:
        """Whether messages arrive, as far as is known."""
        return self._opened is not None and self._opened.probe.is_healthy

    async def open(self) -> None:
        """Begin to receive. Raises ``BackendError`` while the layer is away."""
        layer = get_layer()
        guarded_calls.check_may_open()
        try:
            name, probe = await self._connect(layer)
        except Exception as error:
            guarded_calls.note_failed_open()
            outage.begin(LAYER, LAYER, guarded_calls.reason_of(error))
            raise
        loop = asyncio.get_running_loop()
        sending.start_serving(loop)
        receiver = Receiver(
            layer,
            name,
            probe,
            groups=self._groups,
            handler=self._handler,
            note_stale=self.note_stale,
        )
        receiving, probing = loop.create_task(receiver.run()), loop.create_task(probe.run())
        self._opened = _Opened(layer, name, probe, receiver, receiving, probing)

    async def close(self, user: asyncio.Task[None] | None = None) -> None:
        """Stop receiving and leave nothing in the layer. A task that uses the channel ends too."""
        loop = asyncio.get_running_loop()
        sending.stop_serving(loop)
        opened, self._opened = self._opened, None
        tasks = {opened.receiving, opened.probing} if opened is not None else set()
        tasks |= {user} if user is not None else set()
        for task in tasks:
            task.cancel()
        if opened is None:
            return
        await asyncio.wait(tasks, timeout=guarded_calls.LAYER_CALL_TIMEOUT_SECONDS)
        _closed_at[loop] = time.monotonic()
        adapter = adapter_for(opened.layer)
        adapter.forget_channel(opened.name)
        for group in list(self._stale):
            with suppress(Exception):
                await guarded_calls.group_discard(opened.layer, group, opened.name)
        is_away = not opened.probe.is_healthy
        await opened.probe.stop()
        if is_away:
            await adapter.release()

    @property
    def is_on_one_server(self) -> bool:
        """Whether the confirmation of one group confirms those that were added before it."""
        return self._state().probe.is_on_one_server

    async def wait_healthy(self) -> None:
        """Return when messages arrive. Raises ``BackendError`` while they do not.

        Raises ``LookupError`` if the channel is closed.
        """
        await self._state().probe.wait_healthy()

    async def catch_up(self) -> None:
        """Return when everything that was sent before now is delivered.

        Raises ``BackendError`` if that is uncertain. Joins wait meanwhile.
        """
        if self._opened is not None:
            await self._opened.probe.catch_up()

    async def add(self, group: str, *, is_confirmed: bool) -> None:
        """Receive the messages of ``group``; its lock is held by the caller.

        Raises as :meth:`wait_healthy` does.
        """
        opened = self._state()
        try:
            await guarded_calls.group_add(opened.layer, group, opened.name)
            if is_confirmed:
                await opened.probe.confirm(group)
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
                    if not entry.members and (opened := self._opened) is not None:
                        await guarded_calls.group_discard(opened.layer, group, opened.name)
            except BaseException as error:
                self.note_stale(group)
                if not isinstance(error, Exception):
                    raise
                logger.debug("A group could not be left in the channel layer: %r", error)

    def note_stale(self, group: str) -> None:
        """The layer may or may not have the channel in ``group``: see :meth:`_settle_stale`."""
        self._stale[group] = time.monotonic()
        if self._opened is not None:
            self._opened.probe.probe_now()

    async def resubscribe(self) -> None:
        """Add all groups with members to the layer again, then have the members recheck.

        Raises ``BackendError``.
        """
        if (opened := self._opened) is not None:
            opened.renewed_at = time.monotonic()
            for group, entry in list(self._groups.items()):
                if entry.members:
                    await guarded_calls.group_add(opened.layer, group, opened.name, is_probe=True)
        self._handler.recheck_all()

    async def renew(self) -> None:
        """Resubscribe if the layer is about to forget the groups. Raises ``BackendError``."""
        if (opened := self._opened) is not None:
            expiry = adapter_for(opened.layer).group_expiry
            if expiry is not None and time.monotonic() - opened.renewed_at > expiry / 2:
                await self.resubscribe()

    def restart_receiver(self) -> None:
        """Receive again if the ``send`` of a middleware has cancelled its caller."""
        opened = self._opened
        if opened is not None and opened.receiving.done():
            logger.error("The receiver of the channel layer was cancelled; it starts again.")
            opened.receiving = asyncio.get_running_loop().create_task(opened.receiver.run())

    def _state(self) -> _Opened:
        if self._opened is None:
            raise LookupError("the hub has stopped")
        return self._opened

    async def _connect(self, layer: BaseChannelLayer) -> tuple[str, LivenessProbe]:
        # After a restart of Redis each socket of a layer that was not used meanwhile fails once.
        closed_at = _closed_at.get(asyncio.get_running_loop())
        if closed_at is None or time.monotonic() - closed_at >= IDLE_SOCKET_SECONDS:
            await adapter_for(layer).close_idle()
        try:
            return await self._start_probe(layer)
        except OutageError:
            await adapter_for(layer).close_idle()
            return await self._start_probe(layer)

    async def _start_probe(self, layer: BaseChannelLayer) -> tuple[str, LivenessProbe]:
        name = await guarded_calls.new_channel(layer)
        probe = LivenessProbe(
            layer,
            name,
            resubscribe=self.resubscribe,
            unsubscribe_stale=self._unsubscribe_stale,
            timings=self._timings,
        )
        await probe.start()
        return name, probe

    async def _unsubscribe_stale(self) -> None:
        """Make the layer agree with the hub about stale groups, now and once more after a while.

        A call that was given up may still reach the server, after the calls that followed it.
        """
        for group, since in list(self._stale.items()):
            await self._settle_stale(group)
            if time.monotonic() - since > LATE_CALL_SECONDS and self._stale.get(group) == since:
                del self._stale[group]

    async def _settle_stale(self, group: str) -> None:
        with self._groups.using(group) as entry:
            async with entry.lock:
                if (opened := self._opened) is None:
                    return
                # RedisPubSubChannelLayer leaves a group only if it was added in full.
                await guarded_calls.group_add(opened.layer, group, opened.name, is_probe=True)
                if not entry.members:
                    await guarded_calls.group_discard(
                        opened.layer, group, opened.name, is_probe=True
                    )
