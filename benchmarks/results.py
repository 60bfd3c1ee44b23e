"""The results of a run, and their file in JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, figure

FORMAT = 1
Case = Mapping[str, int]


@dataclass
class Record:
    """One measurement: the ``values`` of a system in a case of a work, in one round."""

    work: str
    system: str
    case: Case
    values: dict[str, float]
    round: int = 0


@dataclass
class Failure:
    """A measurement that could not be made, with the reason."""

    work: str
    system: str
    round: int
    why: str


@dataclass
class Results:
    """A whole run. ``systems`` has the title and versions of each system that took part."""

    when: str = ""
    seconds: float = 0
    options: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def values(self, work: str, system: str, value: str, case: Case) -> list[float]:
        """``value`` of each round; empty if it was not measured."""
        return [
            record.values[value]
            for record in self.records
            if (record.work, record.system) == (work, system)
            and case.items() <= record.case.items()
            and value in record.values
        ]

    def figure(self, work: str, system: str, value: str, **case: int) -> Figure | None:
        """Median and range of ``value`` over the rounds."""
        found = self.values(work, system, value, case)
        return figure(found) if found else None

    def median(self, work: str, system: str, value: str, **case: int) -> float | None:
        found = self.figure(work, system, value, **case)
        return found.median if found else None

    def replace(self, other: "Results") -> None:
        """Take the works that are in ``other`` from there."""
        works = {each.work for each in (*other.records, *other.failures)}
        self.records = [each for each in self.records if each.work not in works] + other.records
        self.failures = [each for each in self.failures if each.work not in works] + other.failures
        self.systems = {**other.systems, **self.systems}
        later = {"when": other.when, "seconds": other.seconds, "works": sorted(works)}
        self.options = {**self.options, "later": [*self.options.get("later", ()), later]}

    def systems_in(self, work: str) -> list[str]:
        """The systems that took part in ``work``, in the order of ``systems``."""
        present = {record.system for record in self.records if record.work == work}
        return [name for name in self.systems if name in present]

    def cases(self, work: str) -> list[Case]:
        """The cases of ``work``, each once, in the order of their first measurement."""
        found: list[Case] = []
        for record in self.records:
            if record.work == work and record.case not in found:
                found.append(record.case)
        return found

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")


def load(path: Path) -> Results:
    """Raises ``ValueError`` for a file of another format."""
    found = json.loads(path.read_text())
    if found.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is not of format {FORMAT}; run `python -m benchmarks` again.")
    failures = [Failure(**each) for each in found.pop("failures")]
    records = [Record(**each) for each in found.pop("records")]
    return Results(**found, failures=failures, records=records)
