"""``python -m benchmarks`` measures all systems in all works, and writes the results."""

import argparse
import signal
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import host, report
from benchmarks.processes import Ground
from benchmarks.results import Results
from benchmarks.runs import Run
from benchmarks.systems import SYSTEMS
from benchmarks.works import WORKS
from benchmarks.works.base import FULL, QUICK

RESULTS = Path(__file__).resolve().parent / "results"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", type=_some(WORKS), default=list(WORKS), help="works, by commas")
    parser.add_argument(
        "--systems", type=_some(SYSTEMS), default=list(SYSTEMS), help="systems, by commas"
    )
    parser.add_argument("--rounds", type=int, default=3, help="at most this many (default: 3)")
    parser.add_argument(
        "--quick", action="store_true", help="one small round, to see that everything works"
    )
    parser.add_argument("--json", type=Path, help="where to write (default: benchmarks/results/)")
    return parser.parse_args(words)


def _some(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        found = text.split(",")
        if unknown := [name for name in found if name not in known]:
            expected = ", ".join(known)
            raise argparse.ArgumentTypeError(
                f"expected some of {expected}; got {', '.join(unknown)}"
            )
        return found

    return names


def main() -> None:
    options = arguments()
    # As Ctrl-C: the processes are stopped, and the results so far are kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    host.check()
    host.raise_file_limit()
    rounds = 1 if options.quick else options.rounds
    began, now = time.monotonic(), datetime.now(UTC)
    results = Results(
        when=now.isoformat(timespec="seconds"),
        options={"quick": options.quick, "rounds": rounds},
        machine=host.describe(),
    )
    ground = Ground()
    try:
        run = Run(ground, results, QUICK if options.quick else FULL)
        works = [work for name, work in WORKS.items() if name in options.only]
        systems = [system for name, system in SYSTEMS.items() if name in options.systems]
        run.measure_all(works, systems, rounds)
    except KeyboardInterrupt:
        print("Stopped. The results so far:")
    finally:
        ground.close()
        results.seconds = round(time.monotonic() - began)
    path = options.json or RESULTS / f"{now:%Y-%m-%d-%H%M}.json"
    results.save(path)
    print(report.tables(results))
    print(f"\nWritten: {path}. `python -m benchmarks.report {path}` makes docs/benchmarks.md.")


if __name__ == "__main__":
    main()
