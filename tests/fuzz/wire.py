"""The consumer between two queues, as an ASGI server drives it."""

import asyncio
import json

from pm_realtime.connection import RealtimeConsumer
from tests.support.helpers import PATIENCE

FENCE = "fence-7f3a"


class Wire:
    """An open connection of ``user``, or of nobody; ``close_code`` where the server ended it."""

    def __init__(self, user=None):
        self.consumer = RealtimeConsumer()
        self.close_code = None
        self._scope = {"type": "websocket", "headers": []}
        if user is not None:
            self._scope["user"] = user

    async def __aenter__(self):
        self._in, self._out = asyncio.Queue(), asyncio.Queue()
        serving = self.consumer(self._scope, self._in.get, self._out.put)
        self._serving = asyncio.create_task(serving)
        self._in.put_nowait({"type": "websocket.connect"})
        accepted = await self._receive_event()
        assert accepted["type"] == "websocket.accept", accepted
        self.connected = await self.receive()
        assert self.connected["type"] == "connected", self.connected
        return self

    async def __aexit__(self, *exc):
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self._serving, PATIENCE)

    @property
    def is_working(self):
        """Whether a command is still being carried out."""
        return any(
            task.get_coro().__qualname__ == "Inbox._carry_out_all"
            for task in asyncio.all_tasks()
        )

    def send(self, frame):
        kind = "text" if isinstance(frame, str) else "bytes"
        self._in.put_nowait({"type": "websocket.receive", kind: frame})

    def command(self, type, room=None, **fields):
        payload = {} if room is None else {"payload": {"room": room}}
        self.send(json.dumps({"type": type, "timestamp": 1, **payload, **fields}))

    async def receive(self):
        """The next envelope; None where the server closed instead."""
        event = await self._receive_event()
        if event["type"] == "websocket.close":
            self.close_code = event["code"]
            return None
        assert event["type"] == "websocket.send", event
        assert event.get("bytes") is None, event
        return json.loads(event["text"])

    async def replies(self):
        """What came in answer to all that was sent, read until a ``ping`` is answered."""
        self.command("ping", id=FENCE)
        return await self.until(lambda each: each["type"] == "pong" and each.get("id") == FENCE)

    async def until(self, is_wanted):
        """The envelopes before the first that ``is_wanted``, or before the close."""
        found = []
        while (envelope := await self.receive()) is not None and not is_wanted(envelope):
            found.append(envelope)
        return found

    async def _receive_event(self):
        getting = asyncio.ensure_future(self._out.get())
        await asyncio.wait(
            [getting, self._serving], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
        )
        if not getting.done():
            getting.cancel()
            raise AssertionError(f"The consumer answers nothing: {self._serving}")
        return getting.result()
