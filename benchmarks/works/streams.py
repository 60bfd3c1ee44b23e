"""The cost of streams: the same work with and without them, recovery, checks, and memory."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from benchmarks.processes import Failed, Ground, Load, up
from benchmarks.results import Failure, Record
from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import System
from benchmarks.works.base import SMALL_BYTES, Scale, Work

ROOM, SUBSCRIBERS, IN_FLIGHT, WARM_UP_SECONDS = "hall", 1000, 4, 0.3
#: The values of a record that must be 0.
FAULTS = ("lost", "disordered", "damaged", "stalls")
#: Measurements of each of two systems that are compared.
ALTERNATIONS = 10
#: Messages that each client has missed when it comes back.
MISSED = 100
#: Streams in the memory of a process, of messages of this size.
STREAMS, MESSAGES, MESSAGE_BYTES = 500, 100, 200
#: The connections that are in all the groups, in as many each: few, as they cost something, too.
CHECKED_CONNECTIONS = 20
#: All positions are checked once within 25 seconds.
CHECK_SECONDS = 26.0


@contextlib.contextmanager
def pair(ground: Ground, system: System) -> Iterator[list[tuple[System, Load]]]:
    """Run ``system``, and the same without streams beside it, each with a load generator.

    They take turns, so that other load on the machine affects them alike.
    """
    with contextlib.ExitStack() as stack:
        both = (system, SYSTEMS[f"{system.name}-forgets"])
        yield [(each, stack.enter_context(up(ground, each))[1]) for each in both]


def measure_fan_out(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    traffic = {"rooms": [ROOM], "in_flight": IN_FLIGHT, "size": SMALL_BYTES}
    with pair(ground, system) as both:
        for _, load in both:
            load.do("open", rooms={ROOM: SUBSCRIBERS})
            load.do("keep", **traffic, seconds=WARM_UP_SECONDS)
        sums: dict[str, Counter[str]] = {each.name: Counter() for each, _ in both}
        for _ in range(ALTERNATIONS):
            for each, load in both:
                sums[each.name].update(load.do("keep", **traffic, seconds=scale.seconds))
        for each, _ in both:
            found = sums[each.name]
            values = {
                **_cost(each, found, "deliveries"),
                **{name: float(found[name]) for name in FAULTS},
            }
            yield Record("stream_fan_out", each.name, {"subscribers": SUBSCRIBERS}, values)


def measure_connects(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    options = {"cookies": str(ground.make_people()), "joins": False}
    with pair(ground, system) as both:
        sums: dict[str, Counter[str]] = {each.name: Counter() for each, _ in both}
        for turn in range(ALTERNATIONS + 1):
            for each, load in both:
                count = scale.connects // ALTERNATIONS
                answer = load.do("open", rooms={f"turn-{turn}": count}, **options)
                if turn:  # The first one is a warm-up.
                    sums[each.name].update(answer)
        for each, _ in both:
            values = _cost(each, sums[each.name], "connections")
            yield Record("stream_connect", each.name, {"connections": scale.connects}, values)


def _cost(system: System, sums: Counter[str], what: str) -> dict[str, float]:
    """µs of CPU for each of ``what``, from the sums over all turns."""
    values = {"cpu_us": sums["cpu"] / sums[what] * 1e6, "others": sums["others"] / ALTERNATIONS}
    if system.needs_redis:
        values["redis_us"] = sums["redis_cpu"] / sums[what] * 1e6
    return values


def measure_recovery(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (running, load):
        load.do("open", rooms={ROOM: SUBSCRIBERS})
        traffic = {"rooms": [ROOM], "size": SMALL_BYTES}
        load.do("keep", **traffic, in_flight=1, seconds=WARM_UP_SECONDS)
        live = load.do("keep", **traffic, in_flight=IN_FLIGHT, seconds=2 * scale.seconds)
        load.do("pace", room=ROOM, size=SMALL_BYTES, rate=200, count=2 * MISSED)
        before = running.redis_reads()
        answer = load.do("come_back", room=ROOM, missed=MISSED)
        if answer["lost"] or answer["disordered"]:
            raise Failed(f"{system.name}: {answer}")
        live_us = live["cpu"] / live["deliveries"] * 1e6
        replayed_us = answer["cpu"] / answer["deliveries"] * 1e6
        values = {
            "live_us": live_us,
            "replayed_us": replayed_us,
            "seconds": answer["seconds"],
            "reads": running.redis_reads() - before,
            "others": answer["others"],
        }
        yield Record("recover", system.name, {"clients": SUBSCRIBERS, "missed": MISSED}, values)


def measure_checks(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (_, load):
        load.do("open", rooms={"room-0": CHECKED_CONNECTIONS})
        load.do("spread", room="room-0", rooms=scale.idle // CHECKED_CONNECTIONS)
        load.do("sleep", seconds=1)
        answer = load.do("sleep", seconds=CHECK_SECONDS)
        values = {"percent": answer["cpu"] / CHECK_SECONDS * 100, "others": answer["others"]}
        yield Record("checks", system.name, {"groups": scale.idle}, values)


def measure_memory(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    sizes = STREAMS, MESSAGES, MESSAGE_BYTES
    values = ground.run("benchmarks.sites.history", system, *sizes)
    case = {"messages": MESSAGES, "size": MESSAGE_BYTES}
    yield Record("history", system.name, case, values)


WORKS = (
    Work("stream_fan_out", measure_fan_out),
    Work("stream_connect", measure_connects),
    Work("recover", measure_recovery),
    Work("checks", measure_checks, rounds=1),
    Work("history", measure_memory, rounds=1),
)
