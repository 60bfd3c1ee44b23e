"""What any process sends after somebody lost the right to a room never reaches them."""

import asyncio

import pytest

from tests.helpers import eventually
from tests.integration.causes import SETTINGS
from tests.integration.client import connect
from tests.integration.people import Browser, Socket

REPETITIONS = 50
USER = {"user": "editor", "group": "editor"}


@pytest.mark.parametrize("layer", ["pubsub", pytest.param("core", marks=pytest.mark.slow)])
async def test_nothing_sent_after_a_demotion_arrives(cluster, layer, record_property):
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
        await stays.join("support")
        for sender in senders:
            assert (await sender.aget("/stream/start/support/")).body == "started"
        demotions = []
        for _ in range(REPETITIONS):
            await demoted.join("support")
            seen = len(demoted.arrivals)
            await eventually(lambda seen=seen: len(demoted.arrivals) > seen + 4)
            demotions.append(await demote_and_promote(office, nobody, demoted))
        for sender in senders:
            await sender.aget("/stream/stop/")
        assert await demoted.is_alive()
        assert await stays.is_alive()
    arrived = sent(demoted)
    forbidden = [(told, until) for _, told, until in demotions]
    assert [at for at in arrived if is_in(at, forbidden)] == []
    missed = [at for at in sent(stays) if is_in(at, forbidden)]
    assert len(missed) > REPETITIONS
    # Until the word of a commit is sent, others may send what they like.
    words = [(commit, told) for commit, told, _ in demotions]
    between = [at for at in arrived if is_in(at, words)]
    longest = max(told - commit for commit, told in words)
    record_property("arrived, sent between a commit and its word", len(between))
    print(
        f"{len(arrived)} arrived, {len(missed)} were sent meanwhile and did not; {len(between)} "
        f"came between a commit and its word, {longest * 1000:.1f} ms at most"
    )


def sent(socket):
    """When what ``socket`` has received was sent."""
    return [payload["at"] for payload in socket.of_type("streamed")]


def is_in(moment, periods):
    return any(begin < moment < end for begin, end in periods)


async def demote_and_promote(office, nobody, socket):
    """When that was committed, when everybody had been told of it, and until when it lasted."""
    seen = len(socket.arrivals)
    demotion = await nobody.get(office, "change/remove/", **USER)
    await eventually(
        lambda: any(each["type"] == "unsubscribed" for _, each in socket.arrivals[seen:])
    )
    refused = await socket.ask("subscribe", {"room": "support"})
    assert refused["payload"]["code"] == "FORBIDDEN"
    promotion = await nobody.get(office, "change/add/", **USER)
    while (await socket.ask("subscribe", {"room": "support"}))["type"] != "subscribed":
        await asyncio.sleep(0.005)
    return demotion["at"], demotion["told"], promotion["at"]


def opened(server, browser):
    return connect(server, browser.cookie, kind=Socket)
