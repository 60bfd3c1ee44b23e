"""The retry queue for control messages that Redis did not take."""

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async

from pm_realtime import refresh_room, refresh_user, send_to_room
from pm_realtime.backends import get_streams
from pm_realtime.exceptions import OutageError
from pm_realtime.layer import (
    Control,
    Recheck,
    Refresh,
    RefreshRoom,
    authenticated_group,
    control_group,
)
from pm_realtime.push.control_stream import control_for
from pm_realtime.push.retry_queue import RetryQueue
from tests.contracts.streams import LONG_AGO
from tests.support.helpers import Connection, eventually
from tests.support.streams import UnansweredStreams


def received(layer):
    """The control messages that the layer took, each with its target."""
    messages = [message for _, message in layer.sent if "target" in message]
    return [(each.target, each.message) for each in map(Control.read, messages)]


async def is_idle():
    await eventually(lambda: "pm_realtime-retry" not in {t.name for t in threading.enumerate()})


def message(number):
    return control_for(f"g{number}", RefreshRoom(str(number)))


async def test_control_messages_are_sent_again_after_an_outage_and_pushes_are_not(far, user):
    far.is_away = True

    def change():
        for step in (refresh_room, refresh_room):
            with pytest.raises(OutageError):
                step("a")
        with pytest.raises(OutageError):
            refresh_user(user)
        with pytest.raises(OutageError):
            send_to_room("a", "news")
        user.save()

    await sync_to_async(change)()
    far.is_away = False
    await is_idle()
    assert [each for _, each in received(far)] == [RefreshRoom("a"), Refresh()]
    assert len(far.sent) == 2


async def test_messages_are_sent_in_order_after_several_attempts(far):
    far.is_away = True
    queue = RetryQueue(interval_seconds=0.01)
    for number in range(3):
        queue.add(message(number))
    await eventually(lambda: far.most_calls)
    assert len(queue) == 3
    far.is_away = False
    await is_idle()
    assert [target for target, _ in received(far)] == ["g0", "g1", "g2"]
    assert len(queue) == 0


async def test_one_recheck_replaces_too_many_messages(far):
    far.is_away = True
    queue = RetryQueue(interval_seconds=0.01, max_messages=10)
    for number in range(11):
        queue.add(message(number))
    assert len(queue) == 1
    far.is_away = False
    await is_idle()
    assert received(far) == [(authenticated_group(), Recheck())]


async def test_message_that_was_taken_without_an_answer_is_not_sent_twice(own_streams):
    own_streams(UnansweredStreams())
    async with Connection():
        with pytest.raises(OutageError):
            await asyncio.to_thread(refresh_room, "a")
        await asyncio.to_thread(refresh_room, "b")
        await is_idle()
    assert await kept_messages() == [RefreshRoom("a"), RefreshRoom("b")]


async def test_later_one_of_two_alike_is_sent_although_the_earlier_one_was_taken(own_streams):
    own_streams(streams := UnansweredStreams())
    async with Connection():
        with pytest.raises(OutageError):
            await asyncio.to_thread(refresh_room, "a")  # It was taken.
        streams.is_away = True
        with pytest.raises(OutageError):
            await asyncio.to_thread(refresh_room, "a")
        streams.is_away = False
        await is_idle()
    assert await kept_messages() == [RefreshRoom("a"), RefreshRoom("a")]


async def kept_messages():
    page = await get_streams().read(control_group(), LONG_AGO, 600)
    return [Control.read(publication.text).message for publication in page.publications]
