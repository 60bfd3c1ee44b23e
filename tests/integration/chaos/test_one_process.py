"""A site of one process, without Redis."""

import asyncio

import pytest

from tests.integration.chaos import processes
from tests.integration.chaos.network import Network

pytestmark = pytest.mark.slow

ROOMS, NAMES = ["red", "blue"], ["one", "two", "three"]
OWN_STREAMS = {"user", "role:user", "role:editor", "all"}
SENDS_PER_SECOND, POLL_SECONDS = 20, 0.05


async def send(clients, least):
    """Each client sends until it has sent ``least`` messages in all. Return their reports once all
    messages have come, and the number of these."""
    await clients.do("send", perSecond=SENDS_PER_SECOND)
    while min(each["sent"] for each in await clients.do("report")) < least:
        await asyncio.sleep(POLL_SECONDS)
    await clients.do("send", perSecond=0)
    while (await clients.do("progress"))["unanswered"]:
        await asyncio.sleep(POLL_SECONDS)
    reports = await clients.do("report")
    sent = sum(each["sent"] for each in reports)
    while (await clients.do("progress"))["count"] < sent * len(NAMES):
        await asyncio.sleep(POLL_SECONDS)
    return await clients.do("report"), sent


async def test_cut_wires_lose_nothing_and_a_restart_is_one_gap(serve, memory_layer):
    server = serve("uvicorn", MAX_CONNECTIONS_PER_USER=100)
    cookie = server.make_sessions("editor")["editor"]
    members = [{"name": name, "cookie": cookie, "rooms": ROOMS, "sendsTo": "red"} for name in NAMES]
    async with (
        Network([server.port]) as network,
        processes.clients(network.ws_url, members) as clients,
    ):
        await clients.do("join")
        network.abort(NAMES)
        reports, sent = await send(clients, 20)
        for report in reports:
            red = report["streams"]["red"]
            assert (red["count"], red["faults"], red["gaps"]) == (sent, [], 0)
            assert report["recovered"] == {"true": 1, "false": 0}
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        reports, sent = await send(clients, 40)
        for report in reports:
            red = report["streams"]["red"]
            assert (red["count"], red["faults"]) == (sent, [])
            assert report["recovered"] == {"true": 1, "false": 1}
            gaps = {name: stream["gaps"] for name, stream in report["streams"].items()}
            assert gaps == dict.fromkeys({*ROOMS, *OWN_STREAMS}, 1)
