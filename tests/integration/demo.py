"""The demo, run by `manage.py demo` and known only by its output."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.integration.server import free_port

MANAGE = Path(__file__).parents[2] / "manage.py"
START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Person:
    """One line of the table that the demo prints."""

    username: str
    role: str
    password: str
    full_name: str


class Demo:
    """Used with ``with``. Started again after a kill, it has the same port and database."""

    def __init__(self, folder: Path, *options: str, environment: dict[str, str] | None = None):
        self.options = options
        self.environment = environment or {}
        self.port = free_port()
        self.database = folder / "demo.sqlite3"
        self.printed_path = folder / "printed.txt"
        self.log_path = folder / "demo.log"

    def __enter__(self) -> "Demo":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        with self.printed_path.open("wb") as printed, self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(MANAGE), "demo", "--port", str(self.port), *self.options],
                env={**environment(self.database), **self.environment},
                stdout=printed,
                stderr=log,
            )
        try:
            self._wait_until_serving()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill the process, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """Send the signal ``sign`` and return the exit code."""
        self.process.send_signal(sign)
        try:
            return self.process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    @property
    def printed(self) -> str:
        return self.printed_path.read_text()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def warnings(self) -> list[str]:
        """The lines of its log without INFO lines of the package, such as the end of a session."""
        return [line for line in self.log.splitlines() if " INFO pm_realtime." not in line]

    @property
    def url(self) -> str:
        """The address that it prints."""
        found = re.search(r"The demo is at (http://\S+)/$", self.printed, re.MULTILINE)
        assert found, self.printed
        return found[1]

    @property
    def people(self) -> dict[str, Person]:
        """The users that it prints, by name."""
        return read_people(self.printed)

    def _wait_until_serving(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.printed + self.log
            if "Ctrl-C" in self.printed and answers(f"{self.url}/login/"):
                return
            time.sleep(0.05)
        raise AssertionError(f"no demo within {START_TIMEOUT_SECONDS} s: {self.printed}{self.log}")


def environment(database: Path) -> dict[str, str]:
    """Return the environment of a process of the demo, with its settings and not the tests'."""
    inherited = {key: value for key, value in os.environ.items() if key != "REDIS_URL"}
    return {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "PM_REALTIME_DEMO_DB": str(database),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def read_people(printed: str) -> dict[str, Person]:
    rows = [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines()]
    start = next(number for number, row in enumerate(rows) if row[:2] == ["NAME", "ROLE"])
    assert rows[start][:4] == ["NAME", "ROLE", "PASSWORD", "PERSON"]
    end = rows.index([""], start)
    return {row[0]: Person(*row[:4]) for row in rows[start + 1 : end]}


def answers(url: str) -> bool:
    """Return whether a GET of ``url`` succeeds."""
    with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(url, timeout=10):
        return True
    return False
