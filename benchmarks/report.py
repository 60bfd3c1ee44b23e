"""``python -m benchmarks.report results.json…`` writes docs/benchmarks.md and its plots.

Works that are in several files of results are taken from the last one.

The prose is in ``benchmarks/page.md``. Every number comes from the results.
"""

import re
import sys
from pathlib import Path

from benchmarks import results as kept
from benchmarks.figures import number, percentile
from benchmarks.plots import draw
from benchmarks.results import Results
from benchmarks.tables import TABLES, absences, losses, table, targets_table

ROOT = Path(__file__).resolve().parent.parent
PROSE = Path(__file__).resolve().parent / "page.md"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOTS = ROOT / "docs" / "benchmarks"
#: Up to this share of all cores for other processes, the machine counts as quiet.
QUIET_SHARE = 0.05
#: The results of the published page.
PUBLISHED = Path(__file__).resolve().parent / "results" / "published.json"


def page(results: Results) -> str:
    """The text of docs/benchmarks.md."""
    parts = {
        "machine": machine(results),
        "versions": versions(results),
        "run": run(results),
        "targets": targets_table(results),
        "losses": losses(results),
        "absences": absences(results),
        **{name: table(results, name) for name in TABLES},
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], PROSE.read_text())


def tables(results: Results) -> str:
    """All tables, as a run prints them."""
    parts = [f"## {name}\n\n{table(results, name)}" for name in TABLES if _has(results, name)]
    parts.append(f"## Targets\n\n{targets_table(results)}")
    parts.append(f"## Losses\n\n{losses(results)}")
    parts.append(f"## Missing\n\n{absences(results)}")
    return "\n\n".join(parts)


def _has(results: Results, name: str) -> bool:
    return any(record.work == TABLES[name].work for record in results.records)


def machine(results: Results) -> str:
    facts = results.machine
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory']}, {facts['kernel']}, "
        f"Python {facts['python']}"
    )


def versions(results: Results) -> str:
    """Every package and program that took part, once, in alphabetical order."""
    found = {each for system in results.systems.values() for each in system["versions"]}
    return ", ".join(sorted(found, key=str.lower))


def run(results: Results) -> str:
    rounds = results.options["rounds"]
    return (
        f"Measured on {results.when[:10]} in {number(results.seconds / 60)} minutes, "
        f"{'one round' if rounds == 1 else f'up to {rounds} rounds'}"
        f"{' of the quick kind, which is too short to be reliable' * results.options['quick']}. "
        f"{disturbance(results)}{_later_runs(results)}"
    )


def _later_runs(results: Results) -> str:
    """The runs from which some works were taken instead."""
    return "".join(
        f" Measured again on {each['when'][:10]}, in one run of {number(each['seconds'] / 60)} "
        f"minutes: {', '.join(each['works'])}."
        for each in results.options.get("later", ())
    )


def disturbance(results: Results) -> str:
    """The share of the machine that other processes used during the run."""
    shares = sorted(r.values["others"] for r in results.records if "others" in r.values)
    if not shares:
        return ""
    middle, most = percentile(shares, 50), shares[-1]
    said = f"Other processes used {middle:.0%} of the cores meanwhile (median; at most {most:.0%})."
    if middle <= QUIET_SHARE:
        return said
    return f"{said} **That is too much: seconds and ratios of seconds here mean little.**"


def write(results: Results, page_path: Path = PAGE, plots: Path = PLOTS) -> None:
    page_path.write_text(page(results))
    draw(results, plots)


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("Expected files of results, as `python -m benchmarks` writes them.")
    results, *others = (kept.load(Path(name)) for name in sys.argv[1:])
    for other in others:
        results.replace(other)
    results.save(PUBLISHED)
    write(results)
    print(f"Written: {PAGE}, {PLOTS}/*.svg, {PUBLISHED}")


if __name__ == "__main__":
    main()
