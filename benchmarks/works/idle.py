"""Idle connections in one room: their memory and their CPU."""

from collections.abc import Iterator

from benchmarks.processes import Failed, Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import Scale, Work

#: Opened before the memory is read first, so that modules loaded by the first ones do not count.
WARM_UP_CONNECTIONS = 100
SETTLE_SECONDS, MEASURE_SECONDS = 1.0, 2.0


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (running, load):
        load.do("open", rooms={"hall": WARM_UP_CONNECTIONS})
        load.do("sleep", seconds=SETTLE_SECONDS)
        before = running.memory()
        load.do("open", rooms={"hall": WARM_UP_CONNECTIONS + scale.idle})
        load.do("sleep", seconds=SETTLE_SECONDS)
        after = running.memory()
        answer = load.do("sleep", seconds=MEASURE_SECONDS)
        if answer["open"] != WARM_UP_CONNECTIONS + scale.idle:
            raise Failed(f"{system.name}: only {answer['open']} of the connections stayed open")
        values = {
            "memory_kb": (after - before) / scale.idle / 1e3,
            "cpu_us": answer["cpu"] / answer["open"] / MEASURE_SECONDS * 1e6,
            "others": answer["others"],
        }
        yield Record("idle", system.name, {"connections": scale.idle}, values)


WORK = Work("idle", measure, rounds=1)
