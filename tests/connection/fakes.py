"""Applications, backends and sockets that fail or wait as a test says."""

import asyncio
import threading

from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.connection.timings import ConnectionTimings
from pm_realtime.exceptions import BackendError
from tests.support.helpers import EVENT_TIMEOUT_SECONDS

DETAIL = "secret inside detail"


class Socket:
    """An ASGI ``send`` that takes frames at once, blocks while ``is_full``, or fails."""

    def __init__(self):
        self.frames = []
        self.error = None
        self._free = asyncio.Event()
        self._free.set()

    async def send(self, frame):
        if self.error:
            raise self.error
        await self._wait()
        if self.error:
            raise self.error
        self.frames.append(frame)

    async def _wait(self):
        if not self._free.is_set():
            await self._free.wait()

    def fill(self):
        """The client reads no more: sends wait."""
        self._free.clear()

    def empty(self):
        """The client reads again."""
        self._free.set()

    @property
    def texts(self):
        return [frame["text"] for frame in self.frames if "text" in frame]


class Overflow:
    """Counts how often it was called."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1


async def all_sent(outbox):
    """Return when the outbox has sent all that it can."""
    await outbox.drain(5)


def deliver_all(outbox, texts):
    for text in texts:
        outbox.deliver(text)


def numbers(count):
    return [str(number) for number in range(count)]


class PausingBackend(MemoryBackend):
    """Counts users in only when the test says so."""

    def __init__(self):
        super().__init__()
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def add(self, connection, **kwargs):
        if connection.user_id is not None:
            self.was_asked.set()
            await self.may_answer.wait()
        return await super().add(connection, **kwargs)


class LostBackend(MemoryBackend):
    """Is lost once a connection is open."""

    async def join(self, *args, **kwargs):
        raise BackendError(DETAIL)


class BrokenBackend(MemoryBackend):
    """Cannot count anybody out of a room: raises ``error``."""

    error: Exception

    async def leave(self, *args, **kwargs):
        raise self.error


class FrozenReader:
    """The application behind a client that stops reading at the first ``big`` push."""

    def __init__(self):
        self.may_read = asyncio.Event()

    async def __call__(self, scope, receive, send):
        async def send_or_wait(event):
            if '"big"' in event.get("text", ""):
                await self.may_read.wait()
            await send(event)

        await RealtimeConsumer.as_asgi()(scope, receive, send_or_wait)


class VanishingBrowser:
    """The application behind a client to which every send fails once it ``is_gone``."""

    def __init__(self):
        self.is_gone = False
        self.refused_sends = 0

    async def __call__(self, scope, receive, send):
        async def send_or_fail(event):
            if self.is_gone:
                self.refused_sends += 1
                raise OSError("the client is gone")
            await send(event)

        await RealtimeConsumer.as_asgi()(scope, receive, send_or_fail)


def broken_resolver(user):
    raise RuntimeError(DETAIL)


def mistaken_resolver(user):
    return "emperor"


#: The rule and the role resolver below answer once it is set.
gate = threading.Event()


def waiting_resolver(user):
    gate.wait(EVENT_TIMEOUT_SECONDS)
    return "user"


def waits_for_gate(user, room):
    return gate.wait(EVENT_TIMEOUT_SECONDS)


def application(**timings):
    """The application of a consumer with other ``timings``."""

    class Consumer(RealtimeConsumer):
        pass

    Consumer.connection_timings = ConnectionTimings(**timings)
    return Consumer.as_asgi()
