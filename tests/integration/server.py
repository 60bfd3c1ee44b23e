"""A site in a process of its own, with a free port and a database of its own."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 20
COMMAND_TIMEOUT_SECONDS = 60
REQUEST_TIMEOUT_SECONDS = 60

UVICORN = "-m uvicorn {application} --host 127.0.0.1 --port {port} --log-level warning"
COMMANDS = {
    "uvicorn": f"{UVICORN} --ws websockets-sansio --ws-per-message-deflate false",
    # With the sizes and the compression that uvicorn has by default.
    "uvicorn-default": f"{UVICORN} --ws websockets-sansio",
    "uvicorn-websockets": f"{UVICORN} --ws websockets",
    "uvicorn-wsproto": f"{UVICORN} --ws wsproto",
    "daphne": "-m daphne -b 127.0.0.1 -p {port} -v 0 {application}",
    "gunicorn": "-m gunicorn -b 127.0.0.1:{port} --log-level warning tests.site.wsgi:application",
    "runserver": "-m django runserver 127.0.0.1:{port} --noreload",
}

LAYERS = {
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "core": "channels_redis.core.RedisChannelLayer",
}

#: Migrated databases, by the variables of the environment with which they were made.
_migrated: dict[frozenset[tuple[str, str]], bytes] = {}


@dataclass
class Response:
    status: int
    headers: Any
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """Used with ``with``. ``kind`` is a key of COMMANDS; ``settings`` are those of PM_REALTIME."""

    kind: str
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    application: str = "tests.site.asgi:application"
    environment: dict[str, str] = field(default_factory=dict)
    options: str = ""

    def __post_init__(self) -> None:
        self.port = free_port()
        self.database = self.folder / "site.sqlite3"
        self.log_path = self.folder / f"{self.kind}-{self.port}.log"

    def __enter__(self) -> "Server":
        if not self.database.exists():
            self.migrate()
        self.start()
        return self

    def start(self) -> None:
        """Start the process. After :meth:`stop` it starts again on the same port."""
        command = COMMANDS[self.kind].format(port=self.port, application=self.application)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command.split(), *self.options.split()],
                cwd=self.folder,
                env=self.env,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for_port(self.port, self.process)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.log}") from None

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_DATABASE": str(self.database),
            "TEST_PM_REALTIME": json.dumps(self.settings),
            "PYTHONPATH": os.pathsep.join(sys.path),
            **self.environment,
        }

    def manage(self, *arguments: str) -> str:
        """Run a management command on the server's database and return its output."""
        return self.run(*arguments).stdout

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a management command, which must succeed."""
        return self.python("-m", "django", *arguments)

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Python in the environment of the site; it must succeed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    def migrate(self) -> None:
        """Make the database: by migrations once, and then as a copy."""
        if type(self) is not Server:  # Its settings and models are in its own folder.
            self.manage("migrate", "--verbosity=0")
            return
        made_with = frozenset(
            item for item in self.environment.items() if item[0] != "TEST_CHANNEL_LAYERS"
        )
        if made_with in _migrated:
            self.database.write_bytes(_migrated[made_with])
            return
        self.manage("migrate", "--verbosity=0")
        if self.database.exists():  # Not if it is in another place.
            _migrated[made_with] = self.database.read_bytes()

    def make_sessions(self, *roles: str) -> dict[str, str]:
        """Log in a user for each role and return the ``Cookie`` header of each."""
        out = self.manage("make_sessions", *roles)
        return json.loads(out.splitlines()[-1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/ws"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def get(self, path: str, timeout: float = REQUEST_TIMEOUT_SECONDS) -> Response:
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as found:
                return Response(found.status, found.headers, found.read().decode())
        except urllib.error.HTTPError as error:
            return Response(error.code, error.headers, error.read().decode())

    async def aget(self, path: str, timeout: float = REQUEST_TIMEOUT_SECONDS) -> Response:
        return await asyncio.to_thread(self.get, path, timeout)

    def kill(self) -> None:
        """Kill the process, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Terminate the process and return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def layer_environment(layer: str, url: str, **config: Any) -> dict[str, str]:
    """Return the environment of a :class:`Server` that uses a layer of LAYERS at ``url``."""
    layers = {"default": {"BACKEND": LAYERS[layer], "CONFIG": {"hosts": [url], **config}}}
    return {"TEST_CHANNEL_LAYERS": json.dumps(layers)}


def wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    """Wait until a server listens on ``port``; fail if ``process`` ends before."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port} within {START_TIMEOUT_SECONDS} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
