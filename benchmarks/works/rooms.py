"""Many small rooms, in turn."""

from collections.abc import Iterator

from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import SMALL_BYTES, Scale, Work, deliveries

MEMBERS, IN_FLIGHT, WARM_UP_SECONDS = 5, 16, 0.2


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (_, load):
        load.do("open", rooms={f"room-{number}": MEMBERS for number in range(scale.rooms)})
        traffic = {"rooms": [], "in_flight": IN_FLIGHT, "size": SMALL_BYTES}
        load.do("keep", **traffic, seconds=WARM_UP_SECONDS)
        answer = load.do("keep", **traffic, seconds=scale.seconds)
        case = {"rooms": scale.rooms, "subscribers": MEMBERS, "in_flight": IN_FLIGHT}
        yield deliveries("rooms", system, case, answer)


WORK = Work("rooms", measure, rounds=2)
