"""Many logged-in users connect: from the handshake to the server's first frame."""

from collections.abc import Iterator

from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import Scale, Work

WARM_UP_CONNECTIONS = 100


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (_, load):
        options = {"cookies": str(ground.make_people()), "joins": False}
        load.do("open", rooms={"warm-up": WARM_UP_CONNECTIONS}, **options)
        answer = load.do("open", rooms={"hall": scale.connects}, **options)
        values = {
            "rate": scale.connects / answer["seconds"],
            "cpu_us": answer["cpu"] / scale.connects * 1e6,
            **(
                {"redis_us": answer["redis_cpu"] / scale.connects * 1e6}
                if "redis_cpu" in answer
                else {}
            ),
            "refused": answer["refused"],
            "others": answer["others"],
        }
        yield Record("connect", system.name, {"connections": scale.connects}, values)


WORK = Work("connect", measure)
