"""Connections that gather messages, for the tests of batching."""

import json

from pm_realtime.connection.batching import make_outbox
from pm_realtime.protocol import BATCH_SUBPROTOCOL
from tests.connection.fakes import Socket
from tests.support.helpers import eventually


class Reader(Socket):
    """An open connection, and the messages that have reached it."""

    def __init__(self):
        super().__init__()
        self.overflows = 0
        self.outbox = make_outbox(BATCH_SUBPROTOCOL, self.send, self._overflow)
        self.outbox.release('"connected"')
        self.frames.clear()

    def _overflow(self):
        self.overflows += 1
        self.outbox.discard()
        self.outbox.close(4002)

    def deliver(self, *numbers):
        for number in numbers:
            self.outbox.deliver(json.dumps(number))

    async def until(self, *texts):
        await eventually(lambda: len(self.texts) >= len(texts))
        assert self.texts == list(texts)

    @property
    def messages(self):
        found = [json.loads(text) for text in self.texts]
        return [each for one in found for each in (one if isinstance(one, list) else [one])]


async def a_window_passes():
    """Return when the empty windows that were open before have ended."""
    other = Reader()
    other.deliver(1)
    await other.until("1")
