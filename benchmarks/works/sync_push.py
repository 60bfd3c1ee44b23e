"""Pushes from synchronous code, as in a WSGI worker, through Valkey."""

from collections.abc import Iterator

from benchmarks import host
from benchmarks.processes import Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import Scale, Work


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (_, load), host.pinned(host.cores()[1]):
        load.do("open", rooms={"hall": 1})
        found = ground.run("benchmarks.sites.pusher", system, scale.calls)
        for way, values in found.items():
            yield Record("sync_push", way, {"calls": scale.calls}, values)


WORK = Work("sync_push", measure)
