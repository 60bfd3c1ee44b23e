"""Two server processes that share a room through Valkey, against one that has it alone."""

from collections.abc import Iterator

from benchmarks import host
from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import SMALL, Scale, Work, deliveries

ROOM, SUBSCRIBERS, IN_FLIGHT, WARM_UP = "hall", 1000, 16, 0.3
#: Seconds for which the load generator rests: it shares the cores.
NAP = 0.002


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    """One process on its core; two on two cores, with the load generator beside them where the
    machine has no third core: then ``cpu_us`` says more than ``rate``."""
    copies = 2 if system.needs_redis else 1
    servers, load_core = host.cores_for(copies)
    with up(ground, system, copies, where=servers, load_where=load_core) as (_, load):
        load.do("open", rooms={ROOM: SUBSCRIBERS})
        traffic = {"rooms": [ROOM], "in_flight": IN_FLIGHT, "size": SMALL, "nap": NAP}
        load.do("keep", **traffic, seconds=WARM_UP)
        answer = load.do("keep", **traffic, seconds=2 * scale.seconds)
        case = {"processes": copies, "cores": len(host.all_cores())}
        yield deliveries("two", system, case, answer)


WORK = Work("two", measure)
