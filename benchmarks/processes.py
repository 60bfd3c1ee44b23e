"""The processes of a measurement: the system, its Valkey, and the load generator."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import host
from benchmarks.systems.base import System
from tests.integration.server import free_port, wait_for_port
from tests.support.valkey import Valkey

ROOT = Path(__file__).resolve().parent.parent
#: Users with a session, for the works that log in.
PEOPLE = 5000
#: The commands of Redis that read messages of a stream.
STREAM_READS = ("xrange", "xrevrange", "xread")


class Failed(Exception):
    """A measurement could not be made; the text has the reason."""


class Ground:
    """The shared parts of a run: a folder, a database of users, a Valkey.

    Call ``close`` at the end.
    """

    def __init__(self, people: int = PEOPLE) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pm_realtime-bench-")
        self.folder = Path(self._folder.name)
        self.database = self.folder / "site.sqlite3"
        self.cookies = self.folder / "cookies.json"
        self._people = people
        self._valkey: Valkey | None = None

    def make_people(self) -> Path:
        """The file with the cookies of the users in the database. Created on the first call."""
        if not self.cookies.exists():
            command = [sys.executable, "-m", "benchmarks.sites.people", str(self._people)]
            environment = {**os.environ, "BENCH_DATABASE": str(self.database)}
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
            )
            self.cookies.write_text(done.stdout)
        return self.cookies

    @property
    def valkey(self) -> Valkey:
        if self._valkey is None:
            with host.pinned(host.cores()[1]):
                self._valkey = Valkey()
        return self._valkey

    def environment(self, system: System) -> dict[str, str]:
        found = {**os.environ, "BENCH_DATABASE": str(self.database), **system.environment}
        found["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [found.get("PYTHONPATH")])])
        if system.needs_redis:
            found["BENCH_REDIS"] = self.valkey.url
        return found

    def run(self, module: str, system: System, *arguments: object) -> Any:
        """The JSON in the last line of a process of the site of ``system`` that runs ``module``.

        Raises :class:`Failed`.
        """
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            env=self.environment(system),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(done.stderr[-2000:])
        return json.loads(done.stdout.splitlines()[-1])

    def close(self) -> None:
        if self._valkey is not None:
            self._valkey.kill()
        self._folder.cleanup()


class Running:
    """A running system, in ``copies`` processes on ports of their own."""

    def __init__(
        self, ground: Ground, system: System, copies: int = 1, where: set[int] | None = None
    ) -> None:
        self.ground, self.system = ground, system
        self.ports: list[int] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = ground.folder / f"{system.name}.log"
        ground.make_people()
        for _ in range(copies):
            with host.pinned(where or host.cores()[0]):
                self._start()

    def _start(self) -> None:
        port = free_port()
        command = [part.replace("{port}", str(port)) for part in self.system.command]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT / self.system.cwd,
                env=self.ground.environment(self.system),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.ports.append(port)
        self.processes.append(process)
        try:
            wait_for_port(port, process)
        except AssertionError as error:
            self.stop()
            raise Failed(f"{error}\n{self.tail()}") from None

    def tail(self) -> str:
        """The end of the log of the system."""
        return self.log.read_text(errors="replace")[-2000:]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def cpu(self) -> float:
        return host.cpu(self.pids)

    def redis_cpu(self) -> float:
        """Seconds of CPU of the Valkey; 0 if the system has none."""
        return host.cpu([self.ground.valkey.process.pid]) if self.system.needs_redis else 0.0

    def redis_reads(self) -> int:
        """The number of reads of streams in the Valkey; 0 if the system has none."""
        if not self.system.needs_redis:
            return 0
        with self.ground.valkey.client() as client:
            found: dict[str, Any] = client.info("commandstats")
        return sum(found.get(f"cmdstat_{name}", {}).get("calls", 0) for name in STREAM_READS)

    def memory(self) -> int:
        return host.memory(self.pids)

    def stop(self) -> None:
        """Kill the system with all its children, without a graceful stop."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Load:
    """The load generator's process (:mod:`benchmarks.load`)."""

    def __init__(self, running: Running, where: set[int] | None = None) -> None:
        self.running = running
        command = [sys.executable, "-m", "benchmarks.load", running.system.name]
        self._errors = running.ground.folder / "load.log"
        with host.pinned(where or host.cores()[1]), self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, *map(str, running.ports)],
                cwd=ROOT,
                env=running.ground.environment(running.system),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def do(self, command: str, **arguments: Any) -> dict[str, float]:
        """Run a command of the load generator, and return its answer.

        The answer also has the seconds of CPU of the server, and the share of all cores that
        ``others`` used meanwhile. Raises :class:`Failed`.
        """
        assert self.process.stdin
        assert self.process.stdout
        before = self._spent()
        print(json.dumps({"do": command, **arguments}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        spent = {name: after - before[name] for name, after in self._spent().items()}
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it ended"}
        if "error" in answer:
            log = self._errors.read_text(errors="replace")[-2000:]
            raise Failed(f"load generator: {answer['error']}\n{log}\n{self.running.tail()}")
        answer["cpu"] = spent["server"]
        if self.running.system.needs_redis:
            answer["redis_cpu"] = spent["redis"]
        own = spent["server"] + spent["redis"] + spent["load"] + spent["here"]
        cores = len(host.all_cores())
        answer["others"] = max(0, spent["busy"] - own) / max(spent["clock"], 0.01) / cores
        return answer

    def _spent(self) -> dict[str, float]:
        """Seconds so far: of CPU for each part, and of the clock."""
        return {
            "server": self.running.cpu(),
            "redis": self.running.redis_cpu(),
            "load": host.cpu([self.process.pid]),
            "here": time.process_time(),
            "busy": host.busy(),
            "clock": time.monotonic(),
        }

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


@contextlib.contextmanager
def up(
    ground: Ground,
    system: System,
    copies: int = 1,
    *,
    where: set[int] | None = None,
    load_where: set[int] | None = None,
) -> Iterator[tuple[Running, Load]]:
    """Run the system and a load generator for it."""
    running = Running(ground, system, copies, where)
    try:
        load = Load(running, load_where)
        try:
            yield running, load
        finally:
            load.stop()
    finally:
        running.stop()
