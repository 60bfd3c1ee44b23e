"""The cost of connections, messages and pushes, as the tables of docs/deployment.md.

``python -m benchmarks.sizes`` starts a Valkey and one server process after the other, each with
database sessions in SQLite and ``RedisPubSubChannelLayer``, and prints Markdown. The figures are
CPU time of the server process from /proc, so a busy machine hardly changes them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import django

from pm_realtime import send_to_room
from tests.integration.server import COMMANDS, Server
from tests.support.valkey import Valkey

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
DEFLATE = "permessage-deflate; client_max_window_bits"
COMMANDS["uvicorn-deflate"] = COMMANDS["uvicorn"].replace("deflate false", "deflate true")
SETTINGS = {"ROOMS": {"hall": {"public": True}}, "RATE_LIMIT": None, "COMPRESSION": True}
ROOM, SUBSCRIBERS, PUSHES, PAUSE_SECONDS = "hall", 1000, 200, 0.05
TEXT = {"title": "Your export is ready", "body": "It has 1,204 rows and waits for you. " * 4}
#: Commands that a client sends. Commands inside a script count as part of the script.
SENT = ("evalsha", "eval", "publish", "subscribe", "unsubscribe", "ping", "script|load")


def cpu(process: subprocess.Popen[Any]) -> float:
    """Seconds of CPU that the process has used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_SECONDS


def memory(process: subprocess.Popen[Any]) -> int:
    """Bytes of the process in RAM."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Visitors:
    """The process of :mod:`benchmarks.visitors`."""

    def __init__(self, server: Server, extension: str = "", cookies: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "benchmarks.visitors", server.ws_url, extension]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdin
        print(json.dumps(cookies), file=self.process.stdin)
        self.server = server

    def do(self, *words: object) -> None:
        """Run a command in all visitors, and wait for its end."""
        assert self.process.stdin
        assert self.process.stdout
        print(*words, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n", self.server.log

    def cost(self, *words: object) -> float:
        """Run a command, and return the seconds of the server's CPU for it."""
        before = cpu(self.server.process)
        self.do(*words)
        return cpu(self.server.process) - before


class Bench:
    """Measures on fresh servers that share one Valkey."""

    def __init__(self, folder: Path, valkey: Valkey, connections: int) -> None:
        self.folder, self.redis, self.connections = folder, valkey.client(), connections
        self.environment = {
            name: os.environ[name] for name in ("TEST_CHANNEL_LAYERS", "TEST_PM_REALTIME")
        }

    @contextmanager
    def server(self, kind: str) -> Iterator[Server]:
        with Server(kind, self.folder, SETTINGS, environment=self.environment) as server:
            yield server

    @contextmanager
    def visitors(self, server: Server, *arguments: Any) -> Iterator[Visitors]:
        visitors = Visitors(server, *arguments)
        try:
            yield visitors
        finally:
            visitors.process.kill()
            visitors.process.communicate()

    def connections_cost(self, kind: str, cookies: list[str]) -> dict[str, float]:
        """Memory and CPU of connections that stay idle."""
        few, many = 2 * self.connections // 5, self.connections
        with self.server(kind) as server, self.visitors(server, "", cookies) as visitors:
            empty = memory(server.process)
            opening = visitors.cost("open", few)
            some = memory(server.process)
            opening += visitors.cost("open", many - few)
            found = {
                "MB at 0": empty / 1e6,
                f"MB at {few:,}": some / 1e6,
                f"MB at {many:,}": memory(server.process) / 1e6,
                "KB per connection": (memory(server.process) - some) / (many - few) / 1e3,
                "ms per connect": opening / many * 1e3,
            }
            found["µs per ping"] = visitors.cost("ping") / many * 1e6
            found["µs per subscribe"] = visitors.cost("subscribe", ROOM) / many * 1e6
            return found

    def message_cost(self, kind: str) -> dict[str, float]:
        """CPU of the messages that the subscribers of one room receive."""
        extension = DEFLATE if "deflate" in kind else ""
        with self.server(kind) as server, self.visitors(server, extension) as visitors:
            visitors.do("open", SUBSCRIBERS)
            visitors.do("subscribe", ROOM)
            before = cpu(server.process)
            for number in range(PUSHES):
                send_to_room(ROOM, "notification", {**TEXT, "number": number})
                time.sleep(PAUSE_SECONDS)
            visitors.do("expect", PUSHES)
            spent = cpu(server.process) - before
            return {
                "µs per delivered message": spent / SUBSCRIBERS / PUSHES * 1e6,
                f"MB at {SUBSCRIBERS:,} subscribers": memory(server.process) / 1e6,
            }

    def push_cost(self) -> dict[str, float]:
        """CPU and time of a push in a process that only sends, as a WSGI worker does."""
        send_to_room(ROOM, "notification", TEXT)
        began, before = time.perf_counter(), time.process_time()
        for _ in range(5000):
            send_to_room(ROOM, "notification", TEXT)
        spent = time.process_time() - before
        return {
            "µs of CPU per push": spent / 5000 * 1e6,
            "µs until it returns": (time.perf_counter() - began) / 5000 * 1e6,
        }

    def redis_cost(self, cookies: list[str]) -> dict[str, dict[str, float]]:
        """Commands that Redis gets from one process, by event."""
        clients = self.redis.info("clients")["connected_clients"]
        with self.server("uvicorn") as server, self.visitors(server, "", cookies) as visitors:
            visitors.do("open", 500)
            found = {
                "idle with 500 connections, per second": self.commands(lambda: time.sleep(20), 20)
            }
            found["a connect"] = self.commands(lambda: visitors.do("open", 500), 500)
            found["a subscribe"] = self.commands(lambda: visitors.do("subscribe", ROOM), 1000)

            def push() -> None:
                for _ in range(500):
                    send_to_room(ROOM, "notification", TEXT)
                visitors.do("expect", 500)

            found["a push"] = self.commands(push, 500)
            sockets = self.redis.info("clients")["connected_clients"] - clients
            found["a disconnect"] = self.commands(lambda: self.leave(visitors), 1000)
            found["sockets of the process"] = {"after that": sockets}
            return found

    def leave(self, visitors: Visitors) -> None:
        visitors.do("close")
        time.sleep(10)

    def commands(self, act: Callable[[], None], times: int) -> dict[str, float]:
        self.redis.config_resetstat()
        act()
        calls = {
            name.removeprefix("cmdstat_"): entry["calls"]
            for name, entry in self.redis.info("commandstats").items()
        }
        return {name: round(calls[name] / times, 2) for name in SENT if calls.get(name)}


def repeated(measure: Callable[[], dict[str, float]], times: int) -> dict[str, str]:
    """The median of each number, and the range if it differs after rounding."""
    runs = [measure() for _ in range(times)]
    return {name: _say([run[name] for run in runs]) for name in runs[0]}


def _say(values: list[float]) -> str:
    def form(value: float) -> str:
        return f"{value:.0f}" if value >= 20 else f"{value:.1f}"

    low, high = form(min(values)), form(max(values))
    middle = form(statistics.median(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    names = list(next(iter(rows.values())))
    print("\n| |", " | ".join(names), "|")
    print("|---|" + "---|" * len(names))
    for label, row in rows.items():
        print(f"| {label} |", " | ".join(str(row.get(name, "")) for name in names), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--connections", type=int, default=5000)
    options = parser.parse_args()
    valkey = Valkey()
    layer = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}
    config = {"default": {**layer, "CONFIG": {"hosts": [valkey.url]}}}
    os.environ["TEST_CHANNEL_LAYERS"] = json.dumps(config)
    os.environ["TEST_PM_REALTIME"] = json.dumps(SETTINGS)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    packages = ("Django", "channels-redis", "redis", "uvicorn", "websockets", "daphne")
    print(f"Python {sys.version.split()[0]},", ", ".join(f"{p} {version(p)}" for p in packages))
    print(f"{os.cpu_count()} cores; median of {options.repeat} runs (lowest to highest)")
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(Bench(Path(folder), valkey, options.connections), options.repeat)
    finally:
        valkey.kill()


def run(bench: Bench, times: int) -> None:
    users = [f"user{number}" for number in range(bench.connections // 5)]
    with bench.server("uvicorn") as server:
        cookies = list(server.make_sessions(*users).values())
        bench.environment["TEST_DATABASE"] = str(server.database)
    kinds, idle = ("uvicorn", "daphne"), {}
    for kind in kinds:
        for who, theirs in (("logged in", cookies), ("anonymous", [])):
            idle[f"{kind}, {who}"] = repeated(lambda: bench.connections_cost(kind, theirs), times)  # noqa: B023
    print_table(idle)
    kinds = (*kinds, "uvicorn-deflate")
    print_table({k: repeated(lambda: bench.message_cost(k), times) for k in kinds})  # noqa: B023
    print_table({"a thread": repeated(bench.push_cost, times)})
    for label, found in bench.redis_cost(cookies).items():
        print(f"\n{label}:", ", ".join(f"{name} {count}" for name, count in found.items()))


if __name__ == "__main__":
    main()
