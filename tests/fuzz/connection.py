"""The consumer between two queues, driven as an ASGI server drives it."""

import asyncio
import json

from pm_realtime.consumers import RealtimeConsumer
from tests.support.helpers import EVENT_TIMEOUT_SECONDS

FENCE = "fence-7f3a"


class AsgiConnection:
    """An open connection of ``user``, anonymous if None.

    ``close_code`` is None until the server closes it.
    """

    def __init__(self, user=None, consumer=RealtimeConsumer):
        self.consumer = consumer()
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
        await asyncio.wait_for(self._serving, EVENT_TIMEOUT_SECONDS)

    def send(self, frame):
        kind = "text" if isinstance(frame, str) else "bytes"
        self._in.put_nowait({"type": "websocket.receive", kind: frame})

    def command(self, type, room=None, **fields):
        payload = {} if room is None else {"payload": {"room": room}}
        self.send(json.dumps({"type": type, "timestamp": 1, **payload, **fields}))

    async def receive(self):
        """Return the next envelope, or None if the server closed the connection."""
        event = await self._receive_event()
        if event["type"] == "websocket.close":
            self.close_code = event["code"]
            return None
        assert event["type"] == "websocket.send", event
        assert event.get("bytes") is None, event
        return json.loads(event["text"])

    async def replies(self):
        """Return all envelopes up to the answer to a ping that is sent now."""
        self.command("ping", id=FENCE)
        return await self.until(lambda each: each["type"] == "pong" and each.get("id") == FENCE)

    async def until(self, is_wanted):
        """Return the envelopes before the first one that ``is_wanted``, or before the close."""
        found = []
        while (envelope := await self.receive()) is not None and not is_wanted(envelope):
            found.append(envelope)
        return found

    async def _receive_event(self):
        getting = asyncio.ensure_future(self._out.get())
        await asyncio.wait(
            [getting, self._serving],
            timeout=EVENT_TIMEOUT_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not getting.done():
            getting.cancel()
            raise AssertionError(f"The consumer does not answer: {self._serving}")
        return getting.result()
