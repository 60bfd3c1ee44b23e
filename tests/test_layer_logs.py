"""What channels-redis says of an outage becomes what this package says of it."""

import asyncio
import logging

from pm_realtime.layer_logs import SUBSCRIPTIONS, take_hints
from pm_realtime.observability import outage
from tests.support.helpers import eventually
from tests.support.hubs import Member, members


def log_in_channels_redis(error):
    logger = logging.getLogger("channels_redis.pubsub")
    try:
        raise error
    except Exception:
        logger.exception("Unexpected exception in receive task")


async def test_tracebacks_of_channels_redis_become_our_own_lines(caplog):
    take_hints()
    take_hints()
    looked = asyncio.Event()
    outage.watch("test", looked.set)
    try:
        for _ in range(3):
            log_in_channels_redis(ConnectionError("gone"))
        await asyncio.wait_for(looked.wait(), 5)
        log_in_channels_redis(TypeError("a mistake"))
    finally:
        outage.unwatch("test")
        outage.end(SUBSCRIPTIONS)
    lost, traceback, back = caplog.records
    assert lost.getMessage().startswith("Lost the channel layer: gone. ")
    assert str(traceback.exc_info[1]) == "a mistake"
    assert back.getMessage().startswith("Back after")


def test_what_channels_redis_says_without_an_exception_stays(caplog):
    take_hints()
    logging.getLogger("channels_redis.pubsub").warning("Something else")
    assert caplog.messages == ["Something else"]


async def test_a_hint_makes_a_hub_look_and_ends_when_it_hears_itself(far, caplog):
    async with members(Member("1")):
        log_in_channels_redis(ConnectionError("gone"))
        await eventually(lambda: len(caplog.messages) == 2)
    lost, back = caplog.messages
    assert lost.startswith("Lost the channel layer: gone. ")
    assert back.startswith("Back after")
