"""The targets of pm_realtime: ratios of two figures of one run, or a figure. Pure functions."""

from dataclasses import dataclass

from benchmarks.results import Case, Results

ROOM = {"subscribers": 1000, "in_flight": 4, "size": 100}
BUSY = {**ROOM, "in_flight": 16}


@dataclass(frozen=True)
class Quantity:
    """A median in the results."""

    work: str
    system: str
    value: str
    case: Case

    def of(self, results: Results) -> float | None:
        return results.median(self.work, self.system, self.value, **self.case)


@dataclass(frozen=True)
class Target:
    """``what`` is the ratio of ``ours`` to ``theirs``, at most ``limit``; at least ``limit`` if it
    ``exceeds``. Without ``theirs`` it is the figure itself."""

    what: str
    ours: Quantity
    theirs: Quantity | None
    limit: float
    exceeds: bool = False
    factor: float = 1.0


@dataclass(frozen=True)
class TargetResult:
    """A target with the measured ratio, or None if one of the two was not measured."""

    target: Target
    ratio: float | None

    @property
    def is_met(self) -> bool:
        if self.ratio is None:
            return False
        limit = self.target.limit
        return self.ratio >= limit if self.target.exceeds else self.ratio <= limit


def _cpu(system: str, case: Case = ROOM) -> Quantity:
    return Quantity("fan_out", system, "cpu_us", case)


def _rate(system: str, value: str = "core_rate") -> Quantity:
    """By default the rate that a system would reach without the limit of the load generator."""
    return Quantity("fan_out", system, value, BUSY)


def _last(system: str) -> Quantity:
    return Quantity("push", system, "last_p99", {"subscribers": 1000})


def _call(way: str) -> Quantity:
    return Quantity("sync_push", way, "p50", {})


def targets(cores: int) -> list[Target]:
    """All targets, on a machine with this number of cores."""
    cost, rate = (
        "CPU per delivered message, 1,000 subscribers",
        "deliveries per second, 16 in flight",
    )
    return [
        Target(f"{cost}: to the tutorial's, uvicorn", _cpu("ours"), _cpu("tutorial"), 1 / 30),
        Target(f"{cost}: to h3 and crossws on Node", _cpu("ours"), _cpu("h3"), 1),
        Target(f"{cost}: to python-socketio", _cpu("ours"), _cpu("python-socketio"), 1 / 5),
        Target(
            f"{cost}: to the tutorial's, daphne",
            _cpu("ours-daphne"),
            _cpu("tutorial-daphne"),
            1 / 7,
        ),
        Target(
            f"batching, {rate}: to h3 and crossws",
            _rate("ours-batch", "rate"),
            _rate("h3"),
            5,
            True,
        ),
        Target(f"batching, {rate}: to Nchan", _rate("ours-batch", "rate"), _rate("nchan"), 1, True),
        Target(
            "CPU per delivered message: 5,000 subscribers to 100",
            _cpu("ours", {**ROOM, "subscribers": 5000}),
            _cpu("ours", {**ROOM, "subscribers": 100}),
            1.3,
        ),
        Target(
            "10 pushes per second, p99 of the last of 1,000 sockets: to h3 and crossws",
            _last("ours"),
            _last("h3"),
            1,
        ),
        Target(
            "synchronous push through Valkey, median: to `async_to_sync(group_send)`",
            _call("send_to_room"),
            _call("group_send"),
            1 / 8,
        ),
        Target(
            "synchronous push through Valkey, median: to a bare `PUBLISH`",
            _call("send_to_room"),
            _call("publish"),
            2,
        ),
        Target(
            "CPU of a connect by a logged-in user: to `AuthMiddlewareStack`, uvicorn",
            Quantity("connect", "ours", "cpu_us", {}),
            Quantity("connect", "channels-auth-uvicorn", "cpu_us", {}),
            0.8,
        ),
        Target(
            "memory of an idle connection: to the tutorial's, uvicorn",
            Quantity("idle", "ours", "memory_kb", {}),
            Quantity("idle", "tutorial", "memory_kb", {}),
            1,
        ),
        *_commands(),
        *_streams(),
        _two(cores),
    ]


def _commands() -> list[Target]:
    """The cost of a command, beside the same with other software."""
    others = (("bare", "a Channels consumer with pydantic"), ("chanx", "Chanx"))
    return [
        Target(
            f"CPU of a command with a struct and a result, {kind} function: to {title}",
            Quantity("commands", f"ours-{kind}", "cpu_us", {}),
            Quantity("commands", f"{name}-{kind}", "cpu_us", {}),
            1,
        )
        for kind in ("async", "sync")
        for name, title in others
    ]


def _streams() -> list[Target]:
    """The cost of streams, each beside the same without them."""
    pairs = (("in memory", "ours"), ("Valkey", "ours-pubsub"))
    works = (
        ("CPU per delivered message with streams, {}: to without", "stream_fan_out"),
        ("CPU of a connect with streams, {}: to without", "stream_connect"),
    )
    recovery = {"clients": 1000, "missed": 100}
    return [
        *(
            Target(
                what.format(where),
                Quantity(work, system, "cpu_us", {}),
                Quantity(work, f"{system}-forgets", "cpu_us", {}),
                1.1,
            )
            for what, work in works
            for where, system in pairs
        ),
        *(
            Target(
                f"CPU per message that 1,000 returning clients had missed, {where}: to a live one",
                Quantity("recover", system, "replayed_us", recovery),
                Quantity("recover", system, "live_us", recovery),
                2,
            )
            for where, system in pairs
        ),
        Target(
            "reads of Valkey for 1,000 clients that return, 100 messages missed",
            Quantity("recover", "ours-pubsub", "reads", recovery),
            None,
            30,
        ),
        Target(
            "kB of memory of a stream of 100 messages of 200 bytes",
            Quantity("history", "ours", "memory_kb", {}),
            None,
            60,
        ),
        Target(
            "percent of a core for 10,000 idle groups, Valkey",
            Quantity("checks", "ours-pubsub", "percent", {}),
            None,
            2,
        ),
    ]


def _two(cores: int) -> Target:
    """The target of two processes. With a third core for the load generator it is the measured
    rate, else the rate that two cores would reach by the CPU of a delivery."""
    one, two = {"processes": 1}, {"processes": 2}
    if cores > 2:
        what = "deliveries per second, two processes through Valkey: to one alone"
        of_two, of_one = (
            Quantity("two", "ours-pubsub", "rate", two),
            Quantity("two", "ours", "rate", one),
        )
        return Target(what, of_two, of_one, 1.6, True)
    what = "deliveries for two cores' CPU, two processes through Valkey: to one alone on one core"
    of_one, of_two = (
        Quantity("two", "ours", "cpu_us", one),
        Quantity("two", "ours-pubsub", "cpu_us", two),
    )
    return Target(what, of_one, of_two, 1.6, True, factor=2)


def target_results(results: Results) -> list[TargetResult]:
    """Each target with its measured ratio."""
    found = []
    for target in targets(int(results.machine.get("cores", "2"))):
        ours = target.ours.of(results)
        theirs = target.theirs.of(results) if target.theirs else 1.0
        ratio = ours / theirs * target.factor if ours is not None and theirs else None
        found.append(TargetResult(target, ratio))
    return found
