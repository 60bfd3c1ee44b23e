"""Pushes from synchronous code, as in a WSGI worker, through Valkey."""

import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks import host
from benchmarks.processes import ROOT, Failed, Ground, up
from benchmarks.results import Failure, Record
from benchmarks.systems.base import System
from benchmarks.works.base import Scale, Work


def measure(ground: Ground, system: System, scale: Scale) -> Iterator[Record | Failure]:
    with up(ground, system) as (_, load), host.pinned(host.cores()[1]):
        load.do("open", rooms={"hall": 1})
        command = [sys.executable, "-m", "benchmarks.sites.pusher", str(scale.calls)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=ground.environment(system),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(done.stderr[-2000:])
        for way, values in json.loads(done.stdout.splitlines()[-1]).items():
            yield Record("sync_push", way, {"calls": scale.calls}, values)


WORK = Work("sync_push", measure)
