"""The tables of the report, as Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.figures import Figure, number, spread
from benchmarks.results import Case, Results
from benchmarks.targets import TargetResult, target_results

#: The ways of the work ``sync_push``. They are not systems.
WAYS = {
    "send_to_room": "`pm_realtime.send_to_room`",
    "group_send": "`async_to_sync(channel_layer.group_send)`",
    "publish": "redis-py, bare `PUBLISH`",
}


@dataclass(frozen=True)
class Column:
    """``value`` of the records of a case, formatted by ``says``."""

    label: str
    value: str
    case: Case = field(default_factory=dict)
    says: Callable[[Figure], str] = spread


@dataclass(frozen=True)
class Table:
    """One work, with a row for each system, the cheapest or fastest by ``columns[0]`` first."""

    work: str
    columns: Sequence[Column]
    rises: bool = True


def _middle(found: Figure) -> str:
    return number(found.median)


def _room(label: str, value: str, *case: int, says: Callable[[Figure], str] = spread) -> Column:
    subscribers, in_flight, size = case
    return Column(
        label,
        value,
        {"subscribers": subscribers, "in_flight": in_flight, "size": size},
        says,
    )


REDIS = "Valkey, µs"
TABLES: Mapping[str, Table] = {
    "fan_out": Table(
        "fan_out",
        [
            _room("server CPU, µs", "cpu_us", 1000, 4, 100),
            _room("per second, 1 in flight", "rate", 1000, 1, 100),
            _room("per second, 4 in flight", "rate", 1000, 4, 100),
            _room("per second, 16 in flight", "rate", 1000, 16, 100),
            _room("last socket, ms: p50", "last_p50", 1000, 4, 100, says=_middle),
            _room("p95", "last_p95", 1000, 4, 100, says=_middle),
            _room("p99", "last_p99", 1000, 4, 100, says=_middle),
            _room(REDIS, "redis_us", 1000, 4, 100, says=_middle),
            _room("load generator busy", "load_busy", 1000, 16, 100, says=_middle),
        ],
    ),
    "in_flight": Table(
        "fan_out",
        [
            _room("CPU, µs: 1 in flight", "cpu_us", 1000, 1, 100),
            _room("4 in flight", "cpu_us", 1000, 4, 100),
            _room("16 in flight", "cpu_us", 1000, 16, 100),
            _room("2 KiB, 16 in flight", "cpu_us", 1000, 16, 2048),
            _room("2 KiB per second, 16 in flight", "rate", 1000, 16, 2048),
        ],
    ),
    "growth": Table(
        "fan_out",
        [
            _room("CPU, µs: 100 subscribers", "cpu_us", 100, 4, 100),
            _room("1,000 subscribers", "cpu_us", 1000, 4, 100),
            _room("5,000 subscribers", "cpu_us", 5000, 4, 100),
        ],
    ),
    "push": Table(
        "push",
        [
            Column("last socket, ms: p99", "last_p99"),
            Column("p95", "last_p95"),
            Column("p50", "last_p50"),
            Column("each socket, ms: p99", "each_p99"),
            Column("p95", "each_p95"),
            Column("p50", "each_p50"),
            Column("server CPU, µs", "cpu_us", says=_middle),
        ],
    ),
    "rooms": Table(
        "rooms",
        [
            Column("server CPU, µs", "cpu_us"),
            Column("per second", "rate"),
            Column("last socket p99, ms", "last_p99", says=_middle),
        ],
    ),
    "direct": Table(
        "direct",
        [
            Column("server CPU, µs", "cpu_us"),
            Column("per second", "rate"),
            Column("p99, ms", "last_p99", says=_middle),
        ],
    ),
    "commands": Table(
        "commands",
        [
            Column("server CPU, µs", "cpu_us"),
            Column("per second", "rate"),
            Column("p99, ms", "last_p99", says=_middle),
        ],
    ),
    "sync_push": Table(
        "sync_push",
        [Column("median, ms", "p50"), Column("p95", "p95"), Column("p99", "p99")],
    ),
    "connect": Table(
        "connect",
        [
            Column("server CPU, µs", "cpu_us"),
            Column("handshakes per second", "rate"),
            Column("refused at first", "refused"),
        ],
    ),
    "idle": Table(
        "idle",
        [Column("kB per connection", "memory_kb"), Column("CPU, µs per second", "cpu_us")],
    ),
    "stream_fan_out": Table(
        "stream_fan_out", [Column("server CPU, µs", "cpu_us"), Column(REDIS, "redis_us")]
    ),
    "stream_connect": Table(
        "stream_connect", [Column("server CPU, µs", "cpu_us"), Column(REDIS, "redis_us")]
    ),
    "recover": Table(
        "recover",
        [
            Column("CPU of a missed message, µs", "replayed_us"),
            Column("of a live one", "live_us"),
            Column("seconds for all", "seconds"),
            Column("reads of Valkey", "reads"),
        ],
    ),
    "history": Table("history", [Column("kB per stream", "memory_kb")]),
    "checks": Table("checks", [Column("% of a core", "percent")]),
    "presence_join": Table(
        "presence_join",
        [
            Column("server CPU of a join, µs", "cpu_us"),
            Column(REDIS, "redis_us"),
            Column("messages to each", "messages"),
            Column("at most in a second", "most"),
            Column("until all see all, s", "late"),
            Column("cores used by others", "others"),
        ],
    ),
    "presence_memory": Table(
        "presence_join",
        [
            Column("kB of a member in the servers", "memory_kb"),
            Column("bytes in Valkey", "redis_bytes"),
            Column("% of a core when idle", "idle_percent"),
            Column("of Valkey", "redis_idle_percent"),
            Column("before they joined", "before_percent"),
        ],
    ),
    "presence_idle": Table(
        "presence_idle",
        [
            Column("% of a core", "percent", {"presence": 1}),
            Column("of Valkey", "redis_percent", {"presence": 1}),
            Column("without presence", "percent", {"presence": 0}),
            Column("of Valkey", "redis_percent", {"presence": 0}),
        ],
    ),
    "two": Table(
        "two",
        [
            Column("per second", "rate"),
            Column("server CPU, µs", "cpu_us"),
            Column(REDIS, "redis_us", says=_middle),
            Column("load generator, µs", "load_us", says=_middle),
        ],
        rises=False,
    ),
}


def title_of(results: Results, name: str) -> str:
    return str(results.systems[name]["title"]) if name in results.systems else WAYS.get(name, name)


def table(results: Results, name: str) -> str:
    """The table of that name; a short sentence if nothing was measured."""
    shown = TABLES[name]
    found: dict[str, list[Figure | None]] = {}
    for record in results.records:
        if record.work == shown.work and record.system not in found:
            found[record.system] = [
                results.figure(shown.work, record.system, column.value, **column.case)
                for column in shown.columns
            ]
    kept = [i for i in range(len(shown.columns)) if any(row[i] for row in found.values())]
    rows = {system: row for system, row in found.items() if any(row[i] for i in kept)}
    if not rows:
        return "Not measured."
    sign = 1 if shown.rises else -1

    def rank(system: str) -> float:
        first = rows[system][0]
        return sign * first.median if first else float("inf")

    columns = [shown.columns[i] for i in kept]
    return markdown(
        ["", *(column.label for column in columns)],
        (
            [
                title_of(results, system),
                *(
                    column.says(figure) if (figure := rows[system][i]) else "-"
                    for i, column in zip(kept, columns, strict=True)
                ),
            ]
            for system in sorted(rows, key=rank)
        ),
    )


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def targets_table(results: Results) -> str:
    return markdown(["", "target", "measured", ""], map(_target, target_results(results)))


def _target(result: TargetResult) -> Sequence[str]:
    target = result.target
    limit = f"1/{1 / target.limit:.0f}" if target.limit < 0.5 else f"{target.limit:g}"
    wanted = f"{'≥' if target.exceeds else '≤'} {limit}"
    if result.ratio is None:
        return (target.what, wanted, "-", "not measured")
    ratio = result.ratio
    says = f"1/{1 / ratio:.1f}" if 0 < ratio < 0.5 else f"{ratio:.2f}"
    return (target.what, wanted, says, "met" if result.is_met else "**not met**")


def losses(results: Results) -> str:
    """The lost, disordered and damaged messages; a sentence if there are none."""
    names = ("lost", "disordered", "damaged", "stalls")
    rows = [
        [
            f"{title_of(results, record.system)}: {record.work}",
            ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in record.case.items()),
            *(f"{record.values[name]:,.0f}" for name in names),
        ]
        for record in results.records
        if any(record.values.get(name) for name in names)
    ]
    if not rows:
        return "Every message reached every subscriber, once, in order and unchanged, everywhere."
    return markdown(["", "case", "lost", "out of order", "damaged", "stalls"], rows)


def absences(results: Results) -> str:
    """The missing systems and measurements, with the reasons."""
    lines = [f"- {title}: {why}" for title, why in results.missing.items()]
    reasons: dict[tuple[str, str], dict[str, list[str]]] = {}
    for each in results.failures:
        rounds = reasons.setdefault((each.system, each.work), {}).setdefault(each.why, [])
        rounds.append(str(each.round + 1))
    for (system, work), found in reasons.items():
        said = (f"{why} (round {', '.join(rounds)})" for why, rounds in found.items())
        lines.append(f"- {title_of(results, system)}, {work}: {'; '.join(said)}")
    return "\n".join(lines) or "Nothing is missing."
