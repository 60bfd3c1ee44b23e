"""Connections that see how many are in a room with presence."""

import asyncio
import json
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

from picows import WSFrame, WSMsgType, WSTransport

from benchmarks.load.sockets import Socket
from benchmarks.load.tally import Tally
from benchmarks.systems.base import Dialect

#: For all viewers to see the right number of members.
SETTLE_TIMEOUT_SECONDS = 60
FRAMES_REMEMBERED = 1000


class Total(NamedTuple):
    rev: int
    total: int
    #: Whether it is in a message, not in the answer to ``subscribe``.
    is_told: bool


#: All viewers get frames of the same bytes, so each is parsed once.
_totals: dict[bytes, Total | None] = {}


class Viewer(Socket):
    """``told_at`` are the times of its messages, and ``joined_at`` that of the answer."""

    def __init__(self, tally: Tally, dialect: Dialect) -> None:
        super().__init__(tally, dialect)
        self.rev = self.total = 0
        self.told_at: list[float] = []
        self.joined_at = 0.0
        #: Called after each change of :attr:`total`.
        self.on_total: Callable[[Viewer], object] = lambda viewer: None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT and frame.fin and self.answer is None:
            found = _total_of(frame.get_payload_as_bytes())
            if found is not None:
                self._see(found)
            return
        super().on_ws_frame(transport, frame)

    def _see(self, found: Total) -> None:
        now = perf_counter()
        if found.is_told:
            self.told_at.append(now)
        else:
            self.joined_at = now
        if found.rev >= self.rev:
            self.rev, self.total = found.rev, found.total
            self.on_total(self)


def _total_of(data: bytes) -> Total | None:
    """The number of members that a frame tells; None for a frame of another type."""
    if data not in _totals:
        if len(_totals) >= FRAMES_REMEMBERED:
            _totals.clear()
        _totals[data] = _parse(data)
    return _totals[data]


def _parse(data: bytes) -> Total | None:
    envelope = json.loads(data)
    if envelope["type"] == "presence":
        return Total(envelope["payload"]["rev"], envelope["payload"]["total"], True)
    if envelope["type"] == "subscribed" and "presence" in envelope["payload"]:
        presence = envelope["payload"]["presence"]
        return Total(presence["rev"], presence["total"], False)
    return None


async def gather(
    viewers: Sequence[Viewer], dialect: Dialect, room: str, seconds: float
) -> dict[str, float]:
    """All ``viewers`` join ``room``, evenly over ``seconds``.

    Returns once each of them sees that all are there. Raises ``TimeoutError``.
    """
    [frame] = dialect.opening(room)
    right: set[Viewer] = set()
    are_right = asyncio.Event()

    def note(viewer: Viewer) -> None:
        (right.add if viewer.total == len(viewers) else right.discard)(viewer)
        if len(right) == len(viewers):
            are_right.set()

    for viewer in viewers:
        viewer.on_total = note
    began, spent = perf_counter(), time.process_time()
    for number, viewer in enumerate(viewers):
        await asyncio.sleep(max(0, began + seconds * number / len(viewers) - perf_counter()))
        viewer.send(frame)
    asked = perf_counter() - began
    async with asyncio.timeout(SETTLE_TIMEOUT_SECONDS):
        await are_right.wait()
    right_at = perf_counter()
    last_joined_at = max(viewer.joined_at for viewer in viewers)
    return {
        "members": len(viewers),
        "asked": asked,
        "joined": last_joined_at - began,
        "late": right_at - last_joined_at,
        "messages": sum(len(viewer.told_at) for viewer in viewers),
        "most": max(most_in_a_second(viewer.told_at) for viewer in viewers),
        "load_cpu": time.process_time() - spent,
    }


def most_in_a_second(moments: Sequence[float]) -> int:
    """The largest number of the sorted ``moments`` within a second."""
    return max((bisect_right(moments, at + 1) - i for i, at in enumerate(moments)), default=0)
