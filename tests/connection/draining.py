"""A server in the process of a test, and its handler of SIGTERM."""

import contextlib
import signal

from tests.support.helpers import Connection, eventually

RESTARTING = 4012


class Server:
    """A server's handler of SIGTERM; it notes that it was called."""

    def __init__(self):
        self.stopped = []

    def stop(self, signum, frame):
        self.stopped.append(signum)

    @property
    def is_in_charge(self):
        """Whether its handler is the one of the process."""
        return signal.getsignal(signal.SIGTERM) == self.stop

    async def until_stopped(self):
        await eventually(lambda: self.stopped)
        assert self.stopped == [signal.SIGTERM]


@contextlib.contextmanager
def handling(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        assert signal.signal(signal.SIGTERM, before) == handler


@contextlib.asynccontextmanager
async def connections(count, **options):
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Connection(**options)) for _ in range(count)]


def terminate():
    signal.raise_signal(signal.SIGTERM)
