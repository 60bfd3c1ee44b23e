"""A message now and then: the time until the last of many sockets has it."""

from collections.abc import Iterator

from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import SMALL_BYTES, Scale, Work, deliveries

ROOM, SUBSCRIBERS, MESSAGES_PER_SECOND = "hall", 1000, 10


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (_, load):
        load.do("open", rooms={ROOM: SUBSCRIBERS}, is_timed=True)
        traffic = {"room": ROOM, "rate": MESSAGES_PER_SECOND, "size": SMALL_BYTES}
        load.do("pace", **traffic, count=3)
        answer = load.do("pace", **traffic, count=scale.pushes)
        case = {"subscribers": SUBSCRIBERS, "rate": MESSAGES_PER_SECOND}
        yield deliveries("push", system, case, answer)


WORK = Work("push", measure)
