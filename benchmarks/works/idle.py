"""Connections in a room where nothing happens: their memory, and what they cost by being there."""

from collections.abc import Iterator

from benchmarks.processes import Failed, Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import Scale, Work

#: Connections before the first look at the memory: what the first ones load is not theirs.
WARM_UP = 100
SETTLED, SECONDS = 1.0, 2.0


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (running, load):
        load.do("open", rooms={"hall": WARM_UP})
        load.do("sleep", seconds=SETTLED)
        before = running.memory()
        load.do("open", rooms={"hall": WARM_UP + scale.idle})
        load.do("sleep", seconds=SETTLED)
        after = running.memory()
        answer = load.do("sleep", seconds=SECONDS)
        if answer["open"] != WARM_UP + scale.idle:
            raise Failed(f"{system.name}: only {answer['open']} of the connections stayed open")
        values = {
            "memory_kb": (after - before) / scale.idle / 1e3,
            "cpu_us": answer["cpu"] / answer["open"] / SECONDS * 1e6,
            "others": answer["others"],
        }
        yield Record("idle", system.name, {"connections": scale.idle}, values)


WORK = Work("idle", measure, rounds=1)
