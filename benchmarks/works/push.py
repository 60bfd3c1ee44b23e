"""A message now and then: how long until the last of many sockets has it."""

from collections.abc import Iterator

from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import SMALL, Scale, Work, deliveries

ROOM, SUBSCRIBERS, RATE = "hall", 1000, 10


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (_, load):
        load.do("open", rooms={ROOM: SUBSCRIBERS}, is_timed=True)
        traffic = {"room": ROOM, "rate": RATE, "size": SMALL}
        load.do("pace", **traffic, count=3)
        answer = load.do("pace", **traffic, count=scale.pushes)
        case = {"subscribers": SUBSCRIBERS, "rate": RATE}
        yield deliveries("push", system, case, answer)


WORK = Work("push", measure)
