"""All sockets of a measurement by their rooms, and the measurements at them."""

import asyncio
import contextlib
import gc
import json
import os
import time
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.figures import percentile
from benchmarks.load.posts import Poster, open_poster
from benchmarks.load.sockets import Socket, TimedSocket, connect_all
from benchmarks.load.streams import Stream
from benchmarks.load.tally import Tally
from benchmarks.load.viewers import Viewer, gather
from benchmarks.systems import SYSTEMS

#: For all members of a room to get again what they have missed.
RETURN_TIMEOUT_SECONDS = 60


class Crowd:
    """Sockets to one system; each method is a command of :mod:`benchmarks.load.__main__`."""

    def __init__(self, system: str, ports: Sequence[int]) -> None:
        self.system, self.ports = SYSTEMS[system], ports
        self.tallies: dict[str, Tally] = {}
        self.members: dict[str, list[Any]] = {}
        self.poster: Poster | None = None

    async def open(
        self,
        rooms: Mapping[str, int],
        cookies: str = "",
        is_timed: bool = False,
        joins: bool = True,
        sees: bool = False,
    ) -> dict[str, float]:
        """Open sockets until each room has that many; ``cookies`` is a JSON file of headers."""
        headers = await asyncio.to_thread(_cookies, cookies) if cookies else []
        kind = Viewer if sees else TimedSocket if is_timed else Socket
        fresh: list[tuple[Socket, str, str]] = []
        for room, size in rooms.items():
            tally = self.tallies.setdefault(room, Tally(self.system.dialect, room))
            members = self.members.setdefault(room, [])
            for _ in range(size - len(members)):
                cookie = headers[len(fresh) % len(headers)] if headers else ""
                members.append(kind(tally, self.system.dialect))
                fresh.append((members[-1], room, cookie))
        began = perf_counter()
        refused = await connect_all(fresh, self.system, self.ports, joins=joins)
        seconds = perf_counter() - began
        return {"connections": len(fresh), "seconds": seconds, "refused": refused}

    async def keep(
        self,
        rooms: Sequence[str],
        *,
        in_flight: int,
        size: int,
        seconds: float,
        by: str = "",
        nap: float = 0,
    ) -> dict[str, float]:
        """Keep messages of ``size`` in flight; ``by`` is a path to POST to, with {room} or {user}.

        The load generator sleeps for ``nap`` seconds after each look at its sockets. That saves
        CPU if it shares cores with the servers.
        """
        stream, tallies = await self._stream(rooms, size, by)
        napping = asyncio.ensure_future(_nap(nap)) if nap else None
        try:
            return await self._measured(stream, tallies, stream.keep(in_flight, seconds))
        finally:
            if napping:
                napping.cancel()

    async def pace(
        self, room: str, rate: float, count: int, size: int, by: str = ""
    ) -> dict[str, float]:
        """Publish ``rate`` messages per second."""
        stream, tallies = await self._stream([room], size, by)
        return await self._measured(stream, tallies, stream.pace(rate, count))

    async def gather(self, room: str, seconds: float) -> dict[str, float]:
        """Those who were opened for ``room`` join it within ``seconds``."""
        return await gather(self.members[room], self.system.dialect, room, seconds)

    async def spread(self, room: str, rooms: int, prefix: str = "room") -> dict[str, float]:
        """Each member of ``room`` joins as many more ``rooms``, of which no other is a member."""

        async def join(socket: Socket, first: int) -> None:
            for number in range(first, first + rooms):
                for frame in self.system.dialect.opening(f"{prefix}-{number}"):
                    socket.expect_answer()
                    socket.send(frame)
                    await socket.wait()
            socket.answer = None

        members = enumerate(self.members[room])
        await asyncio.gather(*(join(each, 1 + rooms * number) for number, each in members))
        return {"rooms": rooms * len(self.members[room])}

    async def come_back(self, room: str, missed: int) -> dict[str, float]:
        """All members leave the room and join it again from ``missed`` messages ago, at once.

        Each must get these messages again, once and in order.
        """
        members, former = self.members[room], self.tallies[room]
        first = former.next - missed
        last_read = next(frame for frame, span in former.spans.items() if span.after == first)
        tally = self.tallies[room] = former.rewound(members, missed)
        is_done = asyncio.Event()
        tally.on_done = lambda tally, _: is_done.set() if tally.oldest == tally.next else None
        frames = self.system.dialect.returning(room, last_read)
        began, spent = perf_counter(), time.process_time()
        for member in members:
            for frame in frames:
                member.send(frame)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETURN_TIMEOUT_SECONDS):
                await is_done.wait()
        tally.give_up(members)
        return {
            "seconds": perf_counter() - began,
            "deliveries": missed * len(members) - tally.lost,
            "lost": tally.lost,
            "disordered": tally.disordered,
            "damaged": tally.damaged,
            "load_cpu": time.process_time() - spent,
        }

    async def _stream(
        self, rooms: Sequence[str], size: int, by: str
    ) -> tuple[Stream, Sequence[Tally]]:
        tallies = [self.tallies[room] for room in rooms or self.tallies]
        for tally in tallies:
            tally.size = size
            tally.spans.clear()
        if self.poster is None and (by or self.system.publishes_by == "http"):
            self.poster = await open_poster(self.ports[0])
        path = by or self.system.publish_path

        def publish(tally: Tally, body: str) -> None:
            if self.poster is None:
                frame = self.system.dialect.publish(tally.room, body)
                self.members[tally.room][0].send(frame)
            else:
                where = path.replace("{room}", tally.room)
                self.poster.post(where.replace("{user}", tally.room.removeprefix("user-")), body)

        def give_up(tally: Tally) -> None:
            tally.give_up(self.members[tally.room])

        return Stream(tallies, publish, give_up), tallies

    async def _measured(
        self, stream: Stream, tallies: Sequence[Tally], running: Any
    ) -> dict[str, float]:
        for tally in tallies:
            tally.lost = tally.disordered = tally.damaged = 0
            tally.to_last, tally.to_each = array("d"), array("d")
        gc.collect()
        gc.disable()
        spent = time.process_time()
        await running
        spent = time.process_time() - spent
        gc.enable()
        lost = sum(tally.lost for tally in tallies)
        expected = sum(len(self.members[tally.room]) * len(tally.to_last) for tally in tallies)
        if stream.stalls:
            expected = stream.published * len(self.members[tallies[0].room])
        to_last = sorted(seconds for tally in tallies for seconds in tally.to_last)
        to_each = sorted(seconds for tally in tallies for seconds in tally.to_each or ())
        return {
            "seconds": stream.ended - stream.began,
            "messages": stream.published,
            "deliveries": expected - lost,
            "lost": lost,
            "disordered": sum(tally.disordered for tally in tallies),
            "damaged": sum(tally.damaged for tally in tallies),
            "refused": self.poster.refused if self.poster else 0,
            "stalls": stream.stalls,
            "load_cpu": spent,
            **{f"last_p{p}": percentile(to_last, p) for p in (50, 95, 99) if to_last},
            **{f"each_p{p}": percentile(to_each, p) for p in (50, 95, 99) if to_each},
        }

    async def close(self) -> dict[str, float]:
        """Exit at once. Closing each socket first would take longer."""
        os._exit(0)

    async def sleep(self, seconds: float) -> dict[str, float]:
        """Keep the sockets open and do nothing."""
        await asyncio.sleep(seconds)
        return {"open": sum(s.is_open for members in self.members.values() for s in members)}


def _cookies(path: str) -> list[str]:
    found: list[str] = json.loads(Path(path).read_text())
    return found


async def _nap(seconds: float) -> None:
    while True:
        time.sleep(seconds)  # noqa: ASYNC251 - the whole process sleeps
        await asyncio.sleep(0)
