"""An order that Redis did not take is sent again until it does."""

import threading

import pytest
from asgiref.sync import sync_to_async

from pm_realtime import arrears, parcels, refresh_room, refresh_user, send_to_room, transport
from pm_realtime.exceptions import OutageError
from pm_realtime.groups import authenticated_group
from tests.helpers import eventually


@pytest.fixture
def redis(monkeypatch):
    """What Redis takes, once it is there."""

    class Redis:
        def __init__(self):
            self.is_away = True
            self.tries = 0
            self.taken = []

        def take(self, group, message):
            self.tries += 1
            if self.is_away:
                raise OutageError("it is away")
            self.taken.append(message)

    redis = Redis()
    monkeypatch.setattr(arrears, "PAUSE", 0.01)
    monkeypatch.setattr(transport, "is_alone", lambda: False)
    monkeypatch.setattr(transport, "send", redis.take)
    yield redis
    redis.is_away = False


async def paid():
    await eventually(lambda: "pm_realtime-arrears" not in {t.name for t in threading.enumerate()})


async def test_an_order_is_sent_when_redis_is_back_and_a_push_is_not(redis, user):
    def ask():
        for step in (refresh_room, refresh_room):
            with pytest.raises(OutageError):
                step("a")
        with pytest.raises(OutageError):
            refresh_user(user)
        with pytest.raises(OutageError):
            send_to_room("a", "news")
        user.save()

    await sync_to_async(ask)()
    await eventually(lambda: redis.tries > 8)
    redis.is_away = False
    await paid()
    assert [message["instruction"] for message in redis.taken] == ["refresh_room", "refresh"]


async def test_for_more_orders_than_are_kept_everybody_is_looked_at(redis, monkeypatch):
    monkeypatch.setattr(arrears, "MOST", 10)

    def ask():
        for number in range(11):
            with pytest.raises(OutageError):
                refresh_room(f"room {number}")

    await sync_to_async(ask)()
    redis.is_away = False
    await paid()
    (message,) = redis.taken
    assert (message["instruction"], message["target"]) == ("recheck", authenticated_group())
    assert parcels._arrears._owed == []
