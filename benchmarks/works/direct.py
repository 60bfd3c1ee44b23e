"""Messages to single users, as a site pushes them from an HTTP request."""

from collections.abc import Iterator

from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import SMALL_BYTES, Scale, Work, deliveries

IN_FLIGHT, WARM_UP_SECONDS = 16, 0.2


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (_, load):
        load.do(
            "open",
            rooms={f"user-{number}": 1 for number in range(1, scale.users + 1)},
            cookies=str(ground.make_people()) if system.logs_in else "",
            joins=not system.logs_in,
        )
        traffic = {
            "rooms": [],
            "in_flight": IN_FLIGHT,
            "size": SMALL_BYTES,
            "by": system.direct_path,
        }
        load.do("keep", **traffic, seconds=WARM_UP_SECONDS)
        answer = load.do("keep", **traffic, seconds=scale.seconds)
        case = {"users": scale.users, "in_flight": IN_FLIGHT}
        yield deliveries("direct", system, case, answer)


WORK = Work("direct", measure, rounds=2)
