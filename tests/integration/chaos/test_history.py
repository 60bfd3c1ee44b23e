"""A room with a long history, and a client that reads slowly."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from tests.integration.chaos.network import Network
from tests.integration.client import Listener, connect
from tests.support.helpers import eventually

HISTORY, BACK, LAST = 10_000, 9_000, 50
LIVE_INTERVAL_SECONDS = 0.005
READ_BYTES_PER_SECOND = 1_000_000
#: More than the buffers of the system hold in all.
MESSAGE_BYTES = 600
#: A page, and the cursors of its messages.
MAX_WAITING_BYTES = 65_536 + 16_384
ROOMS = {"log": {"public": True, "history": 20_000, "history_ttl": 600}}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_history_comes_in_order_to_a_slow_reader_while_messages_go_on(cluster):
    # Its transports say how much waits in them.
    (server,) = cluster("uvicorn", options={"uvicorn": "--loop asyncio"}, ROOMS=ROOMS)
    async with contextlib.AsyncExitStack() as stack:
        network = await stack.enter_async_context(Network([server.port]))
        network.rates["slow"] = READ_BYTES_PER_SECOND
        watcher = await stack.enter_async_context(connect(server, kind=Listener))
        await watcher.ask("subscribe", {"room": "log"})
        await server.aget(f"/burst/?room=log&count={HISTORY}&size={MESSAGE_BYTES}")
        await eventually(lambda: len(watcher.received) == HISTORY)
        since = watcher.received[HISTORY - BACK - 1]["cursor"]
        await server.aget(f"/stream/start/log/?interval={LIVE_INTERVAL_SECONDS}")
        front = SimpleNamespace(ws_url=f"{network.ws_url}?client=slow")
        most = 0
        for start, count in (({"last": LAST}, LAST), ({"since": since}, BACK)):
            async with connect(front, kind=Listener) as slow:
                reply = await slow.ask("subscribe", {"room": "log", **start})
                assert reply["payload"]["cursor"]
                while len(slow.received) < count + 400:
                    waiting = (await server.aget("/waiting/")).json()
                    most = max(most, sum(waiting.values()))
                    await asyncio.sleep(0.05)
                assert_in_order(slow.received, is_whole="since" in start)
        assert 0 < most <= MAX_WAITING_BYTES
        await server.aget("/stream/stop/")


def assert_in_order(envelopes, is_whole):
    bursts = [each["payload"]["n"] for each in envelopes if each["type"] == "burst"]
    streamed = [each["payload"]["n"] for each in envelopes if each["type"] == "streamed"]
    if is_whole:
        assert bursts == list(range(HISTORY - BACK, HISTORY))
        assert streamed == list(range(len(streamed)))
    assert bursts == list(range(HISTORY - len(bursts), HISTORY))
    assert streamed == list(range(streamed[0], streamed[0] + len(streamed)))
    cursors = [each["cursor"] for each in envelopes]
    assert cursors == sorted(set(cursors))
