"""The plots of the report, as SVG on a ground that is readable in light and dark pages."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.figures import Figure, number
from benchmarks.results import Results
from benchmarks.tables import title_of
from benchmarks.targets import BUSY, ROOM

GROUND, INK, FAINT = "#f6f7f9", "#22272e", "#c9ced6"
OURS, TUTORIAL, OTHERS = "#0b6bcb", "#d9730d", "#7a828e"
mpl.rcParams.update(
    {
        "svg.hashsalt": "pm_realtime",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "figure.facecolor": GROUND,
        "axes.facecolor": GROUND,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
)


def colour(system: str) -> str:
    if system.startswith(("ours", "send_to_room")):
        return OURS
    return TUTORIAL if system.startswith(("tutorial", "channels", "group_send")) else OTHERS


def _canvas(title: str, height: float) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(8, height), layout="constrained")
    axes = canvas.add_subplot()
    canvas.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    return canvas, axes


def _plain(axis: Axis) -> None:
    """Label the ticks of a logarithmic axis as 1, 2, 5, 10, in plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def bars(title: str, unit: str, rows: Sequence[tuple[str, str, Figure]], *, is_log: bool) -> Canvas:
    """A bar (a dot on a logarithmic axis) for each (system, label, figure); whiskers: rounds."""
    canvas, axes = _canvas(title, 0.9 + 0.27 * len(rows))
    positions = range(len(rows), 0, -1)
    medians = [figure.median for _, _, figure in rows]
    below = [figure.median - figure.low for _, _, figure in rows]
    above = [figure.high - figure.median for _, _, figure in rows]
    colours = [colour(system) for system, _, _ in rows]
    has_rounds = any(below) or any(above)
    whiskers: dict[str, Any] = {
        "xerr": (below, above),
        "ecolor": INK,
        "elinewidth": 0.7,
        "capsize": 2 * has_rounds,
    }
    if is_log:  # A bar begins at zero, and a logarithmic axis has no zero.
        axes.set_xscale("log")
        axes.hlines(positions, min(medians) / 2, medians, colors=colours, linewidth=1.5)
        axes.scatter(medians, positions, c=colours, s=42, zorder=3)
        axes.errorbar(medians, positions, fmt="none", **whiskers)
        axes.set_xlim(min(medians) / 2, max(figure.high for _, _, figure in rows) * 3)
        _plain(axes.xaxis)
    else:
        axes.barh(positions, medians, color=colours, height=0.72)
        axes.errorbar(medians, positions, fmt="none", **whiskers)
        axes.margins(x=0.12)
    axes.set_yticks(positions, [label for _, label, _ in rows])
    axes.set_ylim(0.4, len(rows) + 0.6)
    axes.tick_params(axis="y", length=0)
    for position, (_, _, figure) in zip(positions, rows, strict=True):
        axes.annotate(
            number(figure.median),
            (figure.high, position),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold",
        )
    axes.set_xlabel(unit + (", logarithmic" if is_log else ""))
    return canvas


def lines(title: str, unit: str, rows: Sequence[tuple[str, str, dict[int, Figure]]]) -> Canvas:
    """A line for each (system, label, {subscribers: figure}), with its label at the end."""
    canvas, axes = _canvas(title, 4.6)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain(axes.yaxis)
    ends: list[tuple[float, float, str, str]] = []
    for system, label, points in rows:
        xs, ys = list(points), [figure.median for figure in points.values()]
        axes.plot(xs, ys, color=colour(system), marker="o", markersize=3.5, linewidth=1.5)
        ends.append((ys[-1], xs[-1], label, colour(system)))
    ticks = sorted({x for _, _, points in rows for x in points})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(ticks[0] * 0.9, ticks[-1] * 9)
    axes.set_xlabel("subscribers of the room, logarithmic")
    axes.set_ylabel(unit + ", logarithmic")
    above = 0.0
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top * 2)
    apart = (top * 2 / bottom) ** (1 / 28)
    for y, x, label, shade in sorted(ends):
        above = max(y, above * apart)  # Labels of lines that end together stay apart.
        axes.annotate(label, (x * 1.08, above), color=shade, va="center", fontsize=8)
    return canvas


def _rows(
    results: Results, work: str, value: str, *, is_best_low: bool = True, **case: int
) -> list[tuple[str, str, Figure]]:
    systems = dict.fromkeys(record.system for record in results.records if record.work == work)
    found = [(name, results.figure(work, name, value, **case)) for name in systems]
    rows = [
        (name, title_of(results, name).replace("`", ""), figure) for name, figure in found if figure
    ]
    return sorted(rows, key=lambda row: row[2].median, reverse=not is_best_low)


def _growth(results: Results) -> Canvas | None:
    crowds = sorted({int(case["subscribers"]) for case in results.cases("fan_out")})
    rows = []
    for system in results.systems_in("fan_out"):
        points = {
            crowd: figure
            for crowd in crowds
            if (
                figure := results.figure(
                    "fan_out", system, "cpu_us", **{**ROOM, "subscribers": crowd}
                )
            )
        }
        if len(points) > 1:
            rows.append((system, title_of(results, system), points))
    title = "Cost of a delivered message as a room grows (4 in flight)"
    return lines(title, "µs of server CPU", rows) if rows else None


def _bars(
    title: str, unit: str, work: str, value: str, case: dict[str, int], **options: bool
) -> Callable[[Results], Canvas | None]:
    def draw(results: Results) -> Canvas | None:
        is_best_low = options.get("is_best_low", True)
        rows = _rows(results, work, value, is_best_low=is_best_low, **case)
        return bars(title, unit, rows, is_log=options.get("is_log", False)) if rows else None

    return draw


#: By the name of the file.
PLOTS: dict[str, Callable[[Results], Canvas | None]] = {
    "fan_out": _bars(
        "Cost of a delivered message: one room of 1,000, 4 in flight, 100 B",
        "µs of server CPU per delivered message, less is better",
        "fan_out",
        "cpu_us",
        ROOM,
        is_log=True,
    ),
    "rate": _bars(
        "Deliveries per second: one room of 1,000, 16 in flight, 100 B, one server core",
        "deliveries per second, more is better",
        "fan_out",
        "rate",
        BUSY,
        is_log=True,
        is_best_low=False,
    ),
    "growth": _growth,
    "push": _bars(
        "Latency to the last of 1,000 sockets: 10 pushes per second, p99",
        "ms from the push, less is better",
        "push",
        "last_p99",
        {},
        is_log=True,
    ),
    "sync_push": _bars(
        "A push from synchronous code through Valkey, median",
        "ms until the call returns, less is better",
        "sync_push",
        "p50",
        {},
    ),
    "connect": _bars(
        "A connect of a logged-in user, up to the first frame",
        "µs of server CPU, less is better",
        "connect",
        "cpu_us",
        {},
    ),
    "idle": _bars(
        "An idle connection",
        "kB of the server's memory, less is better",
        "idle",
        "memory_kb",
        {},
    ),
}


def draw(results: Results, folder: Path) -> list[str]:
    """Write all plots for which there are results. Returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, plot in PLOTS.items():
        canvas = plot(results)
        if canvas is not None:
            canvas.savefig(folder / f"{name}.svg", metadata={"Date": None})
            drawn.append(name)
    return drawn
