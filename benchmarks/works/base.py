"""What a work is: something to measure at each of the systems that take part in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.processes import Ground
from benchmarks.results import Case, Failure, Record
from benchmarks.systems.base import System

SMALL, LARGE = 100, 2048


@dataclass(frozen=True)
class Scale:
    """How much is measured: fully, or quickly to see that everything works."""

    seconds: float = 0.8
    crowds: tuple[int, ...] = (100, 1000, 5000)
    in_flight: tuple[int, ...] = (1, 4, 16)
    rooms: int = 1000
    users: int = 1000
    pushes: int = 50
    connects: int = 1000
    idle: int = 10_000
    calls: int = 1000
    #: Seconds that the messages of one case may take to arrive: what would take longer is left out.
    patience: float = 20


FULL = Scale()
QUICK = Scale(0.4, (100, 1000), (4, 16), 100, 100, 10, 300, 1000, 300, patience=3)


@dataclass(frozen=True)
class Work:
    """``measure`` starts the system and yields a record for each case, of one round; a failure that
    says why for a case that it leaves out."""

    name: str
    title: str
    measure: Callable[[Ground, System, Scale], Iterator[Record | Failure]]
    #: How often it is repeated, at most: what varies little is not repeated often.
    rounds: int = 3


#: What a record takes from the load generator's answer as it is.
KEPT = ("lost", "disordered", "damaged", "messages", "stalls", "others")


def deliveries(work: str, system: System, case: Case, answer: dict[str, float]) -> Record:
    """The record of a stream of messages, from the answer of the load generator."""
    count, seconds = max(1.0, answer["deliveries"]), max(1e-9, answer["seconds"])
    values = {
        "rate": count / seconds,
        "cpu_us": answer["cpu"] / count * 1e6,
        "load_us": answer["load_cpu"] / count * 1e6,
        "load_busy": answer["load_cpu"] / seconds,
        **{name: answer[name] for name in KEPT},
        **{name: value * 1e3 for name, value in answer.items() if name[:5] in ("last_", "each_")},
    }
    if "redis_cpu" in answer:
        values["redis_us"] = answer["redis_cpu"] / count * 1e6
    return Record(work, system.name, case, values)
