"""The one channel over which a channel layer reaches an event loop, and its groups in the layer."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from channels.layers import BaseChannelLayer

from pm_realtime.conf import batch_window_seconds
from pm_realtime.exceptions import OutageError
from pm_realtime.layer import guarded_calls, local, sending
from pm_realtime.layer.adapters import adapter_for
from pm_realtime.layer.contract import LayerAdapter
from pm_realtime.layer.liveness import LivenessProbe
from pm_realtime.layer.memberships import Groups
from pm_realtime.layer.wire import group_of_push, is_probe
from pm_realtime.observability import LAYER, outage

logger = logging.getLogger("pm_realtime.push")

#: Seconds between two tries while the layer is away: the first and the longest.
BACKOFF: Final = (0.1, 1.0)
#: Seconds after which a layer is idle: until then it may be reading what it was answered last.
IDLE: Final = 2.0
#: Seconds after which a step that was given up has no effect any more.
LATE: Final = 10.0
#: Messages taken from the layer in one turn of the loop.
MOST: Final = 64
#: Seconds for which a message is handed out at least, where it is worth while to wait for others.
LONG: Final = 0.001
#: Seconds between two looks at what has come meanwhile.
STEP: Final = 0.0005


class _Last(NamedTuple):
    """What was handed on last: a push to which group, for how long, until when."""

    group: str | None
    seconds: float
    ended_at: float


class ProcessChannel:
    """Belongs to one hub: ``groups`` are the hub's.

    ``dispatch`` takes what arrives: the pushes to a group that came together, with its name, or
    with None one message of another kind. ``begin_turn`` is called before that, as other tasks have
    had a turn; ``mend`` when the layer is back, which may have lost messages and groups meanwhile.
    """

    def __init__(
        self,
        groups: Groups[Any],
        *,
        dispatch: Callable[[str | None, Sequence[dict[str, Any]]], Awaitable[None]],
        begin_turn: Callable[[], None],
        mend: Callable[[], Awaitable[None]],
    ) -> None:
        self._groups = groups
        self._dispatch = dispatch
        self._begin_turn = begin_turn
        self._mend = mend
        self._layer: BaseChannelLayer | None = None
        self._channel = ""
        self._receiver: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._renewed_at = 0.0
        #: Groups of which the layer may, now or later, have another picture, and since when.
        self._stale: dict[str, float] = {}
        #: Received, and not yet handed on: also by a receiver that somebody has cancelled.
        self._arrived: deque[dict[str, Any]] = deque()
        self._last = _Last(None, 0.0, 0.0)
        #: None while the link is closed.
        self.probe: LivenessProbe | None = None

    async def open(self) -> None:
        """Begin to receive. Raises ``BackendError`` while the layer is away."""
        layer = local.get_layer()
        guarded_calls.check_start()
        try:
            probe = await self._begin(layer)
        except Exception as error:
            guarded_calls.note_vain_start()
            outage.begin(LAYER, LAYER, error)
            raise
        self._layer, self.probe = layer, probe
        self._renewed_at = time.monotonic()
        loop = asyncio.get_running_loop()
        sending.start_serving(loop)
        self._receiver = loop.create_task(self._receive_forever(adapter_for(layer), self._channel))
        self._listener = loop.create_task(probe.listen_forever())

    async def close(self, user: asyncio.Task[None] | None) -> None:
        """Receive nothing any more, and leave nothing in the layer. A task that uses it ends."""
        loop = asyncio.get_running_loop()
        sending.stop_serving(loop)
        tasks = {task for task in (self._receiver, self._listener, user) if task}
        for task in tasks:
            task.cancel()
        self._receiver = self._listener = None
        layer, probe = self._layer, self.probe
        self._layer = self.probe = None
        self._arrived.clear()
        if layer is None or probe is None:
            return
        await asyncio.wait(tasks, timeout=guarded_calls.TIMEOUT)
        _closed_at[loop] = time.monotonic()
        adapter = adapter_for(layer)
        adapter.forget_channel(self._channel)
        for group in list(self._stale):
            with suppress(Exception):
                await guarded_calls.group_discard(layer, group, self._channel)
        is_away = not probe.is_healthy
        await probe.stop()
        if is_away:
            await adapter.release()

    @property
    def is_on_one_server(self) -> bool:
        """Whether all groups take the same way: what confirms one confirms those before it."""
        return self._opened().is_on_one_server

    async def until_healthy(self) -> None:
        """Return when the layer brings what is sent; raise ``BackendError`` while it is away.

        Raises ``LookupError`` where the link is closed.
        """
        await self._opened().until_healthy()

    async def catch_up(self) -> None:
        """Return when what was sent before now is delivered; raise ``BackendError`` in doubt.

        Who wants to join a group meanwhile waits as well.
        """
        if self.probe is not None:
            await self.probe.catch_up()

    async def add(self, group: str, *, is_confirmed: bool) -> None:
        """Receive what is sent to ``group``; its lock is held by the caller.

        Raises as :meth:`until_healthy` does.
        """
        probe, layer = self._opened(), self._layer
        assert layer is not None
        try:
            await guarded_calls.group_add(layer, group, self._channel)
            if is_confirmed:
                await probe.confirm(group)
            await self.until_healthy()
        except BaseException:
            self.note_stale(group)
            raise

    async def discard(self, group: str) -> None:
        """Receive no more what is sent to ``group``, if it still has no members.

        A failure is no one's business: what arrives for it is a stray, and it is tried anew when
        the layer is back.
        """
        with self._groups.using(group) as entry:
            try:
                async with entry.lock:
                    if not entry.members and self._layer is not None:
                        await guarded_calls.group_discard(self._layer, group, self._channel)
            except BaseException as error:
                self.note_stale(group)
                if not isinstance(error, Exception):
                    raise
                logger.debug("A group could not be left in the channel layer: %r", error)

    def note_stale(self, group: str) -> None:
        """Whether the layer has us in ``group`` is not known: see :meth:`_unsubscribe_stale`."""
        self._stale[group] = time.monotonic()
        if self.probe is not None:
            self.probe.wake()

    def is_forgotten(self, now: float) -> bool:
        """Whether the layer is about to forget the groups, if they are not renewed."""
        expiry = adapter_for(self._layer).group_expiry if self._layer is not None else None
        return expiry is not None and now - self._renewed_at > expiry / 2

    async def renew(self) -> None:
        """Have the layer know the groups with members. Raises ``BackendError``."""
        self._renewed_at = time.monotonic()
        for group, entry in list(self._groups.items()):
            if entry.members and self._layer is not None:
                await guarded_calls.group_add(self._layer, group, self._channel, is_probe=True)

    def restart_receiver(self) -> None:
        """Receive again where the ``send`` of a middleware has cancelled its caller."""
        if self._receiver is not None and self._receiver.done() and self._layer is not None:
            logger.error("The receiver of the channel layer was cancelled; it starts again.")
            receive = self._receive_forever(adapter_for(self._layer), self._channel)
            self._receiver = asyncio.get_running_loop().create_task(receive)

    def _opened(self) -> LivenessProbe:
        if self.probe is None:
            raise LookupError("the hub has stopped")
        return self.probe

    async def _begin(self, layer: BaseChannelLayer) -> LivenessProbe:
        # After a restart of Redis each socket of a layer that nobody used meanwhile fails once.
        if time.monotonic() - _closed_at.get(asyncio.get_running_loop(), -IDLE) >= IDLE:
            await adapter_for(layer).close_idle()
        try:
            return await self._listen(layer)
        except OutageError:
            await adapter_for(layer).close_idle()
            return await self._listen(layer)

    async def _listen(self, layer: BaseChannelLayer) -> LivenessProbe:
        self._channel = await guarded_calls.new_channel(layer)
        probe = LivenessProbe(layer, self._channel, mend=self._mend, tidy=self._unsubscribe_stale)
        await probe.start()
        return probe

    async def _receive_forever(self, adapter: LayerAdapter, channel: str) -> None:
        """Take what the layer brings; outlive whatever the layer raises."""
        delay, longest = BACKOFF
        while True:
            error = await self._receive(adapter, channel)
            self._begin_turn()
            await self._hand_on()
            await asyncio.sleep(0)
            if error is None:
                delay = BACKOFF[0]
                continue
            if self.probe is not None:
                self.probe.lose(f"{type(error).__name__}: {error}")
            await asyncio.sleep(delay)
            delay = min(delay * 2, longest)

    async def _receive(self, adapter: LayerAdapter, channel: str) -> Exception | None:
        """Wait for what comes next, where nothing is here; what the layer raised after that."""
        try:
            if not self._arrived:
                self._arrived.append(await adapter.receive(channel))
            await adapter.receive_waiting(channel, self._arrived, MOST)
            is_slow = self._last.seconds >= LONG and not local.is_in_process(adapter.layer)
            if is_slow and adapter.shows_waiting:
                await self._gather(adapter, channel)
        except Exception as error:
            return error
        return None

    async def _gather(self, adapter: LayerAdapter, channel: str) -> None:
        """Under load, let what else comes for one group in a moment join what has come for it.

        From a server messages come one by one, a round trip apart. The moment is as long as it took
        to hand out the last, at most a window, and ends where something comes for another group.
        """
        group, began = group_of_push(self._arrived[-1]), time.monotonic()
        is_busy = group == self._last.group and began - self._last.ended_at < batch_window_seconds()
        if group is None or not is_busy:
            return
        until = began + min(self._last.seconds, batch_window_seconds())
        while len(self._arrived) < MOST and time.monotonic() < until:
            await asyncio.sleep(STEP)
            await adapter.receive_waiting(channel, self._arrived, MOST)
            if group_of_push(self._arrived[-1]) != group:
                break

    async def _hand_on(self) -> None:
        """Hand on what has arrived; an probe means that what came before it was dispatched."""
        while self._arrived:
            group, together = self._take()
            began = time.monotonic()
            try:
                if is_probe(together[0]):
                    self._hear(together[0])
                else:
                    self.note_arrival()
                    await self._dispatch(group, together)
            except Exception:
                logger.exception("A message of the channel layer could not be delivered.")
            ended = time.monotonic()
            self._last = _Last(group, ended - began, ended)

    def _take(self) -> tuple[str | None, list[dict[str, Any]]]:
        """What is next: pushes to one group together, or one message that is none."""
        message = self._arrived.popleft()
        group, together = group_of_push(message), [message]
        while group and self._arrived and group_of_push(self._arrived[0]) == group:
            together.append(self._arrived.popleft())
        return group, together

    def _hear(self, probe: dict[str, Any]) -> None:
        if self.probe is not None:
            self.probe.hear(probe)

    def note_arrival(self) -> None:
        """Something came, or is still being handed out: what is behind it is late, not lost."""
        if self.probe is not None:
            self.probe.note_arrival()

    async def _unsubscribe_stale(self) -> None:
        """Have the layer agree with us on groups in which a step failed, now and a while later.

        A step that was given up may still reach the server, after whatever came next.
        """
        for group, since in list(self._stale.items()):
            await self._settle_stale(group)
            if time.monotonic() - since > LATE and self._stale.get(group) == since:
                del self._stale[group]

    async def _settle_stale(self, group: str) -> None:
        with self._groups.using(group) as entry:
            async with entry.lock:
                if self._layer is None:
                    return
                # What is half left, RedisPubSubChannelLayer leaves only when added again.
                await guarded_calls.group_add(self._layer, group, self._channel, is_probe=True)
                if not entry.members:
                    await guarded_calls.group_discard(
                        self._layer, group, self._channel, is_probe=True
                    )


#: When the last link of a loop was closed, monotonic seconds.
_closed_at: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, float]] = WeakKeyDictionary()
