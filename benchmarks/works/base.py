"""A work is a measurement that is made at each of the systems that take part in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.processes import Ground
from benchmarks.results import Case, Failure, Record
from benchmarks.systems.base import System

SMALL_BYTES, LARGE_BYTES = 100, 2048


@dataclass(frozen=True)
class Scale:
    """The extent of a run: full, or quick to see that everything works."""

    seconds: float = 0.8
    crowds: tuple[int, ...] = (100, 1000, 5000)
    in_flight: tuple[int, ...] = (1, 4, 16)
    rooms: int = 1000
    users: int = 1000
    pushes: int = 50
    connects: int = 1000
    idle: int = 10_000
    people: int = 5000
    calls: int = 1000
    #: A case is left out if its messages would take longer than this to arrive.
    max_case_seconds: float = 6


FULL = Scale()
QUICK = Scale(0.4, (100, 1000), (4, 16), 100, 100, 10, 300, 1000, 300, 300, max_case_seconds=3)


@dataclass(frozen=True)
class Work:
    """``measure`` starts the system and yields a record for each case of one round. For a case that
    is left out it yields a failure with the reason."""

    name: str
    measure: Callable[[Ground, System, Scale], Iterator[Record | Failure]]
    #: The largest number of rounds. A work that varies little needs few.
    rounds: int = 3


#: Above this share of its core, the load generator limits the rate. ``core_rate`` is then the rate
#: that the server would reach with the whole of its own core.
SATURATED_SHARE = 0.9
#: Values that a record takes unchanged from the load generator's answer.
UNCHANGED = ("lost", "disordered", "damaged", "messages", "stalls", "others")


def deliveries(work: str, system: System, case: Case, answer: dict[str, float]) -> Record | Failure:
    """The record of a stream of messages, from the answer of the load generator."""
    count, seconds = answer["deliveries"], answer["seconds"]
    if not count:
        return Failure(work, system.name, 0, f"nothing arrived in {seconds:.0f} s ({dict(case)})")
    rate, cpu_us, load_busy = (
        count / seconds,
        answer["cpu"] / count * 1e6,
        answer["load_cpu"] / seconds,
    )
    values = {
        "rate": rate,
        "core_rate": max(rate, 1e6 / cpu_us) if load_busy > SATURATED_SHARE and cpu_us else rate,
        "cpu_us": cpu_us,
        "load_us": answer["load_cpu"] / count * 1e6,
        "load_busy": load_busy,
        **{name: answer[name] for name in UNCHANGED},
        **{name: value * 1e3 for name, value in answer.items() if name[:5] in ("last_", "each_")},
    }
    if "redis_cpu" in answer:
        values["redis_us"] = answer["redis_cpu"] / count * 1e6
    return Record(work, system.name, case, values)
