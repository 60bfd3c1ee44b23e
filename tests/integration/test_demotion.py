"""A user who lost the right to a room gets nothing that any process sends later."""

import asyncio
import time

import pytest

from tests.integration.cases import SETTINGS
from tests.integration.client import connect
from tests.integration.people import Browser, Socket
from tests.support.helpers import eventually

DEMOTION_COUNT = 50
POLL_SECONDS = 0.005
USER = {"user": "editor", "group": "editor"}


@pytest.mark.parametrize("layer", ["pubsub", pytest.param("core", marks=pytest.mark.slow)])
async def test_nothing_sent_after_a_demotion_arrives(cluster, layer):
    """Two processes push all the time, a third demotes, and a fourth has the sockets."""
    settings = {**SETTINGS, "SESSION_RECHECK_INTERVAL": 600}
    config = {"capacity": 10_000} if layer == "core" else {}
    kinds = ("uvicorn", "uvicorn", "daphne", "gunicorn")
    here, *senders, office = cluster(*kinds, layer=layer, config=config, **settings)
    anonymous, mine, other = Browser(), Browser(), Browser()
    for name, browser in (("editor", mine), ("colleague", other)):
        await anonymous.get(office, "make/", username=name, group="editor")
        await browser.get(office, "login/", username=name)
    async with opened(here, mine) as demoted, opened(here, other) as stays:
        await demoted.join("support")
        await stays.join("support")
        for sender in senders:
            assert (await sender.aget("/stream/start/support/")).body == "started"
        demotions = []
        for _ in range(DEMOTION_COUNT):
            seen = len(demoted.arrivals)
            await eventually(lambda seen=seen: len(demoted.arrivals) > seen + 4)
            demotions.append(await demote(office, anonymous, demoted))
            await until_all_arrived(senders, stays, demotions[-1][1])
            await anonymous.get(office, "change/add/", **USER)
            await join_eventually(demoted)
        for sender in senders:
            await sender.aget("/stream/stop/")
        assert await demoted.is_alive()
        assert await stays.is_alive()
    assert [at for at in send_times(demoted) if is_in(at, demotions)] == []
    missed = [at for at in send_times(stays) if is_in(at, demotions)]
    assert len(missed) > DEMOTION_COUNT


def send_times(socket):
    """Return the times at which the pushes that ``socket`` received were sent."""
    return [payload["at"] for payload in socket.of_type("streamed") if "at" in payload]


def is_in(moment, periods):
    return any(begin < moment < end for begin, end in periods)


async def demote(office, anonymous, socket):
    """Return the time of the commit, and a time at which the demotion is in effect."""
    seen = len(socket.arrivals)
    demotion = await anonymous.get(office, "change/remove/", **USER)
    await eventually(
        lambda: any(each["type"] == "unsubscribed" for _, each in socket.arrivals[seen:])
    )
    refused = await socket.ask("subscribe", {"room": "support"})
    assert refused["payload"]["code"] == "FORBIDDEN"
    return demotion["at"], time.time()


async def until_all_arrived(senders, socket, moment):
    """Wait until the process of ``socket`` has all pushes that were sent before ``moment``.

    The pushes of each sender arrive in order, so a later one of each is enough.
    """

    def seen_senders():
        return {each["from"] for each in socket.of_type("streamed") if each.get("at", 0) > moment}

    await eventually(lambda: len(seen_senders()) == len(senders))


async def join_eventually(socket):
    while (await socket.ask("subscribe", {"room": "support"}))["type"] != "subscribed":
        await asyncio.sleep(POLL_SECONDS)


def opened(server, browser):
    return connect(server, browser.cookie, kind=Socket)
