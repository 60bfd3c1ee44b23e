"""``python -m benchmarks`` measures all systems in all works, and writes what it found."""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import host, report
from benchmarks.processes import Failed, Ground
from benchmarks.results import Failure, Results
from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import System
from benchmarks.works import WORKS
from benchmarks.works.base import FULL, QUICK, Scale, Work

RESULTS = Path(__file__).resolve().parent / "results"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", type=_names(WORKS), default=list(WORKS), help="works, by commas")
    parser.add_argument(
        "--systems", type=_names(SYSTEMS), default=list(SYSTEMS), help="systems, by commas"
    )
    parser.add_argument("--rounds", type=int, default=3, help="at most so many (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one small round, to see it work")
    parser.add_argument("--json", type=Path, help="where to write (default: benchmarks/results/)")
    return parser.parse_args(words)


def _names(known: dict[str, object]) -> object:
    def names(text: str) -> list[str]:
        found = text.split(",")
        if unknown := [name for name in found if name not in known]:
            expected = ", ".join(known)
            raise argparse.ArgumentTypeError(f"expected of {expected}; got {', '.join(unknown)}")
        return found

    return names


def run(results: Results, works: list[Work], systems: list[System], scale: Scale) -> None:
    """Measure into ``results``: all systems of a round after each other, then the next round."""
    present = [system for system in systems if not system.missing]
    results.missing = {system.title: system.missing for system in systems if system.missing}
    results.systems = {
        system.name: {
            "title": system.title,
            "versions": [host.package_version(name) for name in system.versions],
        }
        for system in present
    }
    ground = Ground()
    try:
        for work in works:
            for round in range(min(work.rounds, results.options["rounds"])):
                for system in present:
                    if work.name in system.works:
                        _measure(results, ground, work, system, scale, round)
    finally:
        ground.close()


def _measure(
    results: Results, ground: Ground, work: Work, system: System, scale: Scale, round: int
) -> None:
    began = time.monotonic()
    try:
        for record in work.measure(ground, system, scale):
            record.round = round
            results.records.append(record)
    except Failed as error:
        print(error, file=sys.stderr)
        why = str(error).strip().splitlines()[0]
        results.failures.append(Failure(work.name, system.name, round, why))
    seconds = time.monotonic() - began
    print(f"{work.name} {round + 1}: {system.title}, {seconds:.1f} s", file=sys.stderr, flush=True)


def main() -> None:
    options = arguments()
    host.raise_file_limit()
    rounds = 1 if options.quick else options.rounds
    now = datetime.now(UTC)
    results = Results(
        when=now.isoformat(timespec="seconds"),
        options={"quick": options.quick, "rounds": rounds},
        machine=host.describe(),
    )
    began = time.monotonic()
    run(
        results,
        [WORKS[name] for name in WORKS if name in options.only],
        [SYSTEMS[name] for name in SYSTEMS if name in options.systems],
        QUICK if options.quick else FULL,
    )
    results.seconds = round(time.monotonic() - began)
    path = options.json or RESULTS / f"{now:%Y-%m-%d-%H%M}.json"
    results.save(path)
    print(report.tables(results))
    print(f"\nWritten: {path}. `python -m benchmarks.report {path}` makes docs/benchmarks.md of it.")


if __name__ == "__main__":
    main()
