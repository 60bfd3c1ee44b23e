"""The members of rooms in Redis, over many nodes, and what becomes of them if nodes are lost."""

import asyncio

import pytest

from pm_realtime.backends import Profile
from pm_realtime.backends.redis import RedisBackend
from tests.backends.redis.support import FAST


@pytest.fixture
def stores(url):
    return [RedisBackend(FAST).presence for _ in range(3)]


def profile_of(key, name="", user_id=None):
    text = f'{{"userId":"{key}","info":{{"name":"{name}"}}}}'
    return Profile(key=key, user_id=user_id or key, text=text)


async def enter(store, connection_id, key="1", *, room="room", grace=10.0, former_ids=()):
    return await store.enter(
        connection_id, room, profile_of(key), grace_seconds=grace, former_ids=former_ids
    )


def sorted_by_key(picture):
    return sorted(picture.members, key=lambda member: member.profile.key)


async def test_smoke(stores):
    first, second, third = stores
    entry = await enter(first, "a")
    assert entry[1:] == (True, True)
    assert entry.member.profile == profile_of("1")
    entry = await enter(second, "b")
    assert entry[1:] == (False, False)
    assert entry.member.connections == 2
    picture = await third.read("room", None, 10)
    assert picture.total == 1
    assert picture.is_whole
    assert await third.find_keys("room", "1") == ["1"]
    assert await third.find_key("room", "a") == "1"
    assert await third.find_key("room", "x") is None
    assert await first.leave("a", "room", is_at_once=True) == (False, None)
    picture = await third.read("room", picture.mark, 10)
    assert not picture.is_whole
    assert picture.members[0].connections == 1
    assert await third.check({"room": picture.mark, "other": picture.mark._replace(rev=0)})
    assert await second.set_state("room", "1", "{}", 0.05) is False
    exit = await second.leave("b", "room", is_at_once=True)
    assert exit.departure[:3] == ("room", "1", "1")
    picture = await third.read("room", picture.mark, 10)
    assert picture.left == ["1"]
    await third.sweep()


async def test_grace(stores):
    first, second, _ = stores
    await enter(first, "a", grace=0.1)
    await first.leave("a", "room", is_at_once=False)
    await second.sweep()
    assert (await second.read("room", None, 10)).total == 1
    await asyncio.sleep(0.1)
    await second.sweep()
    assert (await second.read("room", None, 10)).total == 0


async def test_flush(stores, client):
    first, second, third = stores
    for n in range(300):
        await enter(first, f"a{n}", str(n))
    await enter(second, "b", "1")
    picture = await third.read("room", None, 1000)
    assert picture.total == 300
    client.flushall()
    await asyncio.gather(first.sweep(), second.sweep())
    again = await third.read("room", picture.mark, 1000)
    assert again.total == 300
    assert sorted_by_key(again) == sorted_by_key(picture)
    client.delete(*client.keys("*lease*"))
    await asyncio.sleep(0.3)
    await third.sweep()
