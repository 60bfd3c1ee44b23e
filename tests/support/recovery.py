"""Clients that come back with their cursors, and applications whose clients read slowly."""

import asyncio
import json
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from pm_realtime.connection import RealtimeConsumer
from tests.support.helpers import Connection

LONG_AGO = "0000000000000-000000"
FAR_AHEAD = "9999999999999-000000"


def query_of(*, resume=(), since=None, user=None):
    """The query of a handshake of a client that comes back; ``since`` may be any text."""
    parts = {}
    if resume:
        parts["resume"] = ",".join(resume)
    if since is not None:
        parts["since"] = since if isinstance(since, str) else json.dumps(since)
    if user is not None:
        parts["user"] = str(user)
    return urlencode(parts).encode()


@asynccontextmanager
async def returning(browser=None, *, application=None, subprotocols=None, **query):
    """A connection of ``browser`` (None: an anonymous one) whose client has cursors."""
    connection = Connection(
        headers=None if browser is None else browser.headers,
        application=application,
        subprotocols=subprotocols,
    )
    connection.scope["query_string"] = query_of(**query)
    async with connection:
        yield connection


def payloads(envelopes, type="news"):
    return [envelope["payload"] for envelope in envelopes if envelope["type"] == type]


def cursors(envelopes):
    return [envelope["cursor"] for envelope in envelopes if "cursor" in envelope]


class SlowReader:
    """The application behind a client that reads as long as ``may_read`` is set.

    ``unread`` is the number of frames that were sent and that it has not read.
    """

    def __init__(self, application=None):
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.waiting = 0
        self._application = application or RealtimeConsumer.as_asgi()

    async def __call__(self, scope, receive, send):
        async def send_or_wait(event):
            if event["type"] == "websocket.send" and not self.may_read.is_set():
                self.waiting += 1
                await self.may_read.wait()
                self.waiting -= 1
            await send(event)

        await self._application(scope, receive, send_or_wait)
