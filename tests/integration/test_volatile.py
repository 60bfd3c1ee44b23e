"""A reader that is slow gets the latest volatile messages, on each server, and stays connected."""

import asyncio
import json
import socket

import pytest

from tests.integration.client import ANSWER_TIMEOUT_SECONDS, Listener, connect
from tests.integration.crowd import subscribe_frame
from tests.integration.raw import RawClient

#: Together, more than the buffers of the kernel take.
COUNT = 200
SIZE_BYTES = 30_000
OPEN = {"public": True, "publish_role": "anonymous", "rate": "100000/s"}


def envelopes(frame):
    """Those in a frame, which may be a batch."""
    found = json.loads(frame[1])
    yield from found if isinstance(found, list) else [found]


def contents(envelope):
    return envelope["payload"]["content"][:2]


async def volatile(sender, content):
    await sender.send("message", {"room": "board", "content": content, "volatile": True})


async def until_received(client, content):
    async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
        while contents(await client.receive()) != content:
            pass


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
@pytest.mark.parametrize("protocol", ["pm-realtime.v1", "pm-realtime.v1.batch"])
async def test_slow_reader_gets_the_latest_of_each_sender(serve, kind, protocol):
    server = serve(kind, ROOMS={"board": OPEN})
    header = f"Sec-WebSocket-Protocol: {protocol}\r\n"
    async with connect(server) as fast, connect(server, kind=Listener) as sender:
        with RawClient(server, headers=header) as slow:
            slow.send(subscribe_frame("board"))
            while next(envelopes(slow.frame()))["type"] != "subscribed":
                pass
            for client in (fast, sender):
                await client.subscribe("board")
            path = f"/volatile/?room=board&count={COUNT}&size={SIZE_BYTES}"
            sending = asyncio.create_task(server.aget(path))
            await until_received(fast, ["view", COUNT - 1])
            await sending
            for number in range(20):
                await volatile(sender, ["sender", number])
                await until_received(fast, ["sender", number])
            slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
            received = []
            while received[-2:] != [["view", COUNT - 1], ["sender", 19]]:
                frame = await asyncio.to_thread(slow.frame)
                received += [contents(each) for each in envelopes(frame)]
            assert received == sorted(received, key=received.index)
            assert [name for name, _ in received].count("sender") == 1
            assert len(received) < 0.9 * COUNT
            # It is as fast as the others again.
            await volatile(sender, ["sender", 20])
            frame = await asyncio.to_thread(slow.frame)
            assert contents(next(envelopes(frame))) == ["sender", 20]
