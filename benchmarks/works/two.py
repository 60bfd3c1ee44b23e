"""Two server processes that share a room through Valkey, and one process alone."""

from collections.abc import Iterator

from benchmarks import host
from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import SMALL_BYTES, Scale, Work, deliveries

ROOM, SUBSCRIBERS, IN_FLIGHT, WARM_UP_SECONDS = "hall", 1000, 16, 0.3
#: The load generator sleeps this long after each turn, because it shares the cores.
NAP_SECONDS = 0.002


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    """One process on one core, or two on two cores. Without a third core the load generator shares
    theirs, and ``cpu_us`` is more reliable than ``rate``."""
    copies = 2 if system.needs_redis else 1
    servers, load_core = host.cores_for(copies)
    with up(ground, system, copies, where=servers, load_where=load_core) as (_, load):
        load.do("open", rooms={ROOM: SUBSCRIBERS})
        traffic = {"rooms": [ROOM], "in_flight": IN_FLIGHT, "size": SMALL_BYTES, "nap": NAP_SECONDS}
        load.do("keep", **traffic, seconds=WARM_UP_SECONDS)
        answer = load.do("keep", **traffic, seconds=2 * scale.seconds)
        case = {"processes": copies, "cores": len(host.all_cores())}
        yield deliveries("two", system, case, answer)


WORK = Work("two", measure)
