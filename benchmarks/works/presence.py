"""Many users join a room with presence within seconds, and rooms with presence are idle."""

from collections.abc import Iterator

from benchmarks import host
from benchmarks.processes import Failed, Ground, Running, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import Scale, Work

PROCESSES, JOIN_SECONDS = 2, 5.0
ROOM = "crowd"
SETTLE_SECONDS, IDLE_SECONDS = 2.0, 10.0
#: The connections that are in all idle rooms: few, as they cost something, too.
IDLE_CONNECTIONS = 20


def measure_joins(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    """Different users, connected before, join one room over two processes."""
    servers, load_core = host.cores_for(PROCESSES)
    with up(ground, system, PROCESSES, where=servers, load_where=load_core) as (running, load):
        cookies = str(ground.make_people())
        load.do("open", rooms={ROOM: scale.people}, cookies=cookies, joins=False, sees=True)
        load.do("sleep", seconds=SETTLE_SECONDS)
        before = running.memory()
        resting = load.do("sleep", seconds=IDLE_SECONDS)
        answer = load.do("gather", room=ROOM, seconds=JOIN_SECONDS)
        load.do("sleep", seconds=SETTLE_SECONDS)
        after = running.memory()
        idle = load.do("sleep", seconds=IDLE_SECONDS)
        if idle["open"] != scale.people:
            raise Failed(f"{system.name}: only {idle['open']} of the connections stayed open")
        count = answer["members"]
        values = {
            "cpu_us": answer["cpu"] / count * 1e6,
            "redis_us": answer["redis_cpu"] / count * 1e6,
            "load_us": answer["load_cpu"] / count * 1e6,
            "joined": answer["joined"],
            "late": answer["late"],
            "messages": answer["messages"] / count,
            "most": answer["most"],
            "memory_kb": (after - before) / count / 1e3,
            "redis_bytes": _redis_memory(running) / count,
            "idle_percent": idle["cpu"] / IDLE_SECONDS * 100,
            "redis_idle_percent": idle["redis_cpu"] / IDLE_SECONDS * 100,
            "before_percent": resting["cpu"] / IDLE_SECONDS * 100,
            "others": answer["others"],
        }
        yield Record("presence_join", system.name, {"members": scale.people}, values)


def _redis_memory(running: Running) -> int:
    """Bytes of the keys of presence."""
    with running.ground.valkey.client() as client:
        keys = list(client.scan_iter("*presence*"))
        return sum(client.memory_usage(key, samples=0) or 0 for key in keys)


def measure_idle(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    """Rooms in which nothing happens, with presence and without."""
    for has_presence, prefix in enumerate(("room", "present")):
        with up(ground, system) as (_, load):
            load.do("open", rooms={"room-0": IDLE_CONNECTIONS})
            rooms = scale.idle // IDLE_CONNECTIONS
            load.do("spread", room="room-0", rooms=rooms, prefix=prefix)
            load.do("sleep", seconds=SETTLE_SECONDS)
            answer = load.do("sleep", seconds=IDLE_SECONDS)
            values = {
                "percent": answer["cpu"] / IDLE_SECONDS * 100,
                "redis_percent": answer["redis_cpu"] / IDLE_SECONDS * 100,
                "others": answer["others"],
            }
            case = {"rooms": scale.idle, "presence": has_presence}
            yield Record("presence_idle", system.name, case, values)


WORKS = (
    Work("presence_join", measure_joins),
    Work("presence_idle", measure_idle, rounds=1),
)
