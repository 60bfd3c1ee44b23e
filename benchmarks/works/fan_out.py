"""One room: what a delivered message costs, and how many a second there are."""

from collections.abc import Iterator

from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import LARGE, SMALL, Scale, Work, deliveries

ROOM = "hall"
#: Seconds of the same traffic before what is measured.
WARM_UP = 0.2
#: Crowds above this get only what growth is read from: others would take minutes at slow systems.
BIG = 1000
MIDDLE = 4


def cells(crowd: int, scale: Scale) -> Iterator[tuple[int, int]]:
    """How many messages are in flight, and of which size, for a crowd."""
    middle = MIDDLE if MIDDLE in scale.in_flight else scale.in_flight[0]
    if crowd > BIG:
        yield middle, SMALL
        return
    for in_flight in scale.in_flight:
        yield in_flight, SMALL
    if crowd == BIG:
        yield scale.in_flight[-1], LARGE


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    rate = float("inf")
    with up(ground, system) as (_, load):
        for crowd in scale.crowds:
            load.do("open", rooms={ROOM: crowd})
            load.do("keep", rooms=[ROOM], in_flight=1, size=SMALL, seconds=WARM_UP)
            for in_flight, size in cells(crowd, scale):
                case = {"subscribers": crowd, "in_flight": in_flight, "size": size}
                if in_flight * crowd / rate > scale.patience:
                    messages = f"{in_flight} of {size} bytes to {crowd:,}"
                    said = f"{messages} would take over {scale.patience:g} s"
                    yield Failure("fan_out", system.name, 0, said)
                    continue
                traffic = {"in_flight": in_flight, "size": size, "seconds": scale.seconds}
                answer = load.do("keep", rooms=[ROOM], **traffic)
                record = deliveries("fan_out", system, case, answer)
                if isinstance(record, Record):
                    rate = record.values["rate"]
                yield record


WORK = Work("fan_out", measure)
