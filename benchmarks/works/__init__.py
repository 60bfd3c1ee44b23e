"""The works, in the order in which they are measured and shown."""

from benchmarks.works import connect, direct, fan_out, idle, push, rooms, sync_push, two
from benchmarks.works.base import Work

WORKS: dict[str, Work] = {
    module.WORK.name: module.WORK
    for module in (fan_out, push, rooms, direct, sync_push, connect, idle, two)
}
