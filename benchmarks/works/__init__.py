"""The works, in the order in which they are measured and shown."""

from benchmarks.works import (
    commands,
    connect,
    direct,
    fan_out,
    idle,
    presence,
    push,
    rooms,
    streams,
    sync_push,
    two,
)
from benchmarks.works.base import Work

_MODULES = (fan_out, push, rooms, direct, commands, sync_push, connect, idle, two)
WORKS: dict[str, Work] = {
    work.name: work
    for work in (*(module.WORK for module in _MODULES), *streams.WORKS, *presence.WORKS)
}
