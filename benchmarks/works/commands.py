"""Commands: each connection has one under way, and sends the next when it has the answer."""

from collections.abc import Iterator

from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import SMALL_BYTES, Scale, Work, deliveries

CONNECTIONS, WARM_UP_SECONDS = 16, 0.4


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (_, load):
        load.do("open", rooms={f"room-{number}": 1 for number in range(CONNECTIONS)})
        traffic = {"rooms": [], "in_flight": CONNECTIONS, "size": SMALL_BYTES}
        load.do("keep", **traffic, seconds=WARM_UP_SECONDS)
        answer = load.do("keep", **traffic, seconds=2 * scale.seconds)
        yield deliveries("commands", system, {"connections": CONNECTIONS}, answer)


WORK = Work("commands", measure)
