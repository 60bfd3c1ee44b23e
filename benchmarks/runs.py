"""One run: the systems take turns at each work, and the results are collected."""

import sys
import time
from collections.abc import Sequence

from benchmarks import host
from benchmarks.processes import Failed, Ground
from benchmarks.results import Failure, Results
from benchmarks.systems.base import System
from benchmarks.works.base import Scale, Work


class Run:
    """Measures into ``results``."""

    def __init__(self, ground: Ground, results: Results, scale: Scale) -> None:
        self.ground, self.results, self.scale = ground, results, scale

    def measure_all(self, works: Sequence[Work], systems: Sequence[System], rounds: int) -> None:
        """For each work: all systems of a round one after the other, then the next round."""
        present = [system for system in systems if not system.missing]
        self._note(systems)
        for work in works:
            for turn in range(min(work.rounds, rounds)):
                for system in present:
                    if work.name in system.works:
                        self.measure(work, system, turn)

    def _note(self, systems: Sequence[System]) -> None:
        for system in systems:
            if system.missing:
                self.results.missing[system.title] = system.missing
                continue
            versions = [host.package_version(name) for name in system.versions]
            self.results.systems[system.name] = {"title": system.title, "versions": versions}

    def measure(self, work: Work, system: System, turn: int) -> None:
        """Measure one system at one work, once. A failure is recorded with its reason."""
        began = time.monotonic()
        try:
            for found in work.measure(self.ground, system, self.scale):
                found.round = turn
                if isinstance(found, Failure):
                    self.results.failures.append(found)
                else:
                    self.results.records.append(found)
        except Failed as error:
            print(error, file=sys.stderr)
            why = str(error).strip().splitlines()[0]
            self.results.failures.append(Failure(work.name, system.name, turn, why))
        seconds = time.monotonic() - began
        said = f"{work.name} {turn + 1}: {system.title}, {seconds:.1f} s"
        print(said, file=sys.stderr, flush=True)
