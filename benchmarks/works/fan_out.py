"""One room: the cost of a delivered message, and the deliveries per second."""

from collections.abc import Iterator

from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import LARGE_BYTES, SMALL_BYTES, Scale, Work, deliveries

ROOM = "hall"
#: Of the same traffic, before the measurement.
WARM_UP_SECONDS = 0.2
#: A larger crowd has only the case that shows growth. More would take minutes at slow systems.
FULL_CROWD = 1000
GROWTH_IN_FLIGHT = 4


def cells(crowd: int, scale: Scale) -> Iterator[tuple[int, int]]:
    """The number of messages in flight and their size, for each case of a crowd."""
    middle = GROWTH_IN_FLIGHT if GROWTH_IN_FLIGHT in scale.in_flight else scale.in_flight[0]
    if crowd > FULL_CROWD:
        yield middle, SMALL_BYTES
        return
    for in_flight in scale.in_flight:
        yield in_flight, SMALL_BYTES
    if crowd == FULL_CROWD:
        yield scale.in_flight[-1], LARGE_BYTES


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    rate = float("inf")
    with up(ground, system) as (_, load):
        for crowd in scale.crowds:
            load.do("open", rooms={ROOM: crowd})
            load.do("keep", rooms=[ROOM], in_flight=1, size=SMALL_BYTES, seconds=WARM_UP_SECONDS)
            for in_flight, size in cells(crowd, scale):
                case = {"subscribers": crowd, "in_flight": in_flight, "size": size}
                if in_flight * crowd / rate > scale.max_case_seconds:
                    messages = f"{in_flight} of {size} bytes to {crowd:,}"
                    said = f"{messages} would take over {scale.max_case_seconds:g} s"
                    yield Failure("fan_out", system.name, 0, said)
                    continue
                traffic = {"in_flight": in_flight, "size": size, "seconds": scale.seconds}
                answer = load.do("keep", rooms=[ROOM], **traffic)
                record = deliveries("fan_out", system, case, answer)
                if isinstance(record, Record):
                    rate = record.values["rate"]
                yield record


WORK = Work("fan_out", measure)
