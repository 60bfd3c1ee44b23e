"""What any process sends after somebody lost the right to a room never reaches them."""

import asyncio
import time

import pytest

from tests.integration.causes import SETTINGS
from tests.integration.client import connect
from tests.integration.people import Browser, Socket
from tests.support.helpers import eventually

REPETITIONS = 50
USER = {"user": "editor", "group": "editor"}


@pytest.mark.parametrize("layer", ["pubsub", pytest.param("core", marks=pytest.mark.slow)])
async def test_nothing_sent_after_a_demotion_arrives(cluster, layer):
    """Two processes push all the time, a third demotes, and the sockets are in a fourth."""
    settings = {**SETTINGS, "SESSION_RECHECK_INTERVAL": 600}
    config = {"capacity": 10_000} if layer == "core" else {}
    kinds = ("uvicorn", "uvicorn", "daphne", "gunicorn")
    here, *senders, office = cluster(*kinds, layer=layer, config=config, **settings)
    nobody, mine, other = Browser(), Browser(), Browser()
    for name, browser in (("editor", mine), ("colleague", other)):
        await nobody.get(office, "make/", username=name, group="editor")
        await browser.get(office, "login/", username=name)
    async with opened(here, mine) as demoted, opened(here, other) as stays:
        await demoted.join("support")
        await stays.join("support")
        for sender in senders:
            assert (await sender.aget("/stream/start/support/")).body == "started"
        demotions = []
        for _ in range(REPETITIONS):
            seen = len(demoted.arrivals)
            await eventually(lambda seen=seen: len(demoted.arrivals) > seen + 4)
            demotions.append(await demote(office, nobody, demoted))
            await arrived_from_all(senders, stays, demotions[-1][1])
            await nobody.get(office, "change/add/", **USER)
            await eventually_joins(demoted)
        for sender in senders:
            await sender.aget("/stream/stop/")
        assert await demoted.is_alive()
        assert await stays.is_alive()
    arrived = sent(demoted)
    assert [at for at in arrived if is_in(at, demotions)] == []
    missed = [at for at in sent(stays) if is_in(at, demotions)]
    assert len(missed) > REPETITIONS


def sent(socket):
    """When what ``socket`` has received was sent."""
    return [payload["at"] for payload in socket.of_type("streamed") if "at" in payload]


def is_in(moment, periods):
    return any(begin < moment < end for begin, end in periods)


async def demote(office, nobody, socket):
    """When that was committed, and a moment at which it is so."""
    seen = len(socket.arrivals)
    demotion = await nobody.get(office, "change/remove/", **USER)
    await eventually(
        lambda: any(each["type"] == "unsubscribed" for _, each in socket.arrivals[seen:])
    )
    refused = await socket.ask("subscribe", {"room": "support"})
    assert refused["payload"]["code"] == "FORBIDDEN"
    return demotion["at"], time.time()


async def arrived_from_all(senders, socket, moment):
    """Return when all that was sent before ``moment`` has come to the process of ``socket``.

    What each sender sends comes in its order.
    """

    def have_sent():
        return {each["from"] for each in socket.of_type("streamed") if each.get("at", 0) > moment}

    await eventually(lambda: len(have_sent()) == len(senders))


async def eventually_joins(socket):
    while (await socket.ask("subscribe", {"room": "support"}))["type"] != "subscribed":
        await asyncio.sleep(0.005)


def opened(server, browser):
    return connect(server, browser.cookie, kind=Socket)
