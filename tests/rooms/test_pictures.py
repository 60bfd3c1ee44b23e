"""The pictures of an event loop: readings, messages to viewers, and repairs."""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager

import pytest

from pm_realtime.backends import Profile, get_backend
from pm_realtime.backends.memory_presence import MemoryPresence
from pm_realtime.exceptions import OutageError
from pm_realtime.hub import get_hub
from pm_realtime.layer import room_group
from pm_realtime.rooms.pictures import Pictures
from pm_realtime.streams import CheckTimings
from tests.support.helpers import eventually
from tests.support.hubs import Member, members

pytestmark = pytest.mark.usefixtures("memory_layer", "leaves_nothing")

ROOM = "r"


class Store(MemoryPresence):
    """Counts questions, and fails or waits on command."""

    def __init__(self):
        super().__init__()
        self.reads = self.checks = 0
        self.is_away = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def read(self, room, since, limit):
        self.reads += 1
        answer = await super().read(room, since, limit)
        await self.answers.wait()
        self._fail_if_away()
        return answer

    async def check(self, marks):
        self.checks += 1
        self._fail_if_away()
        return await super().check(marks)

    def _fail_if_away(self):
        if self.is_away:
            raise OutageError("the store is away")

    async def come(self, *keys, room=ROOM):
        for key in keys:
            profile = Profile(key=key, user_id=key, text=f'{{"userId":"{key}","info":{{}}}}')
            await self.enter(f"of-{key}", room, profile, grace_seconds=10)

    async def go(self, *keys, room=ROOM):
        for key in keys:
            await self.leave(f"of-{key}", room, is_at_once=True)


@pytest.fixture
async def store():
    get_backend().presence = store = Store()
    return store


@asynccontextmanager
async def running(*, keep_seconds=30, **timings):
    checks = CheckTimings(**{"period_seconds": 60, "retry_seconds": 0.01, **timings})
    pictures = Pictures(checks, keep_seconds=keep_seconds)
    pictures.start()
    try:
        yield pictures
    finally:
        pictures.stop()


@asynccontextmanager
async def viewers(pictures, *ids, may_see=True, max_members=200):
    """Viewers of the room; each has the first ``members`` that it got as ``members``."""
    found = [Member(each) for each in ids]
    async with members(*found, groups=[room_group(ROOM)]):
        for each in found:
            await pictures.prepare(ROOM, max_members)
            picture = pictures.attach(each, ROOM, max_members, may_see=may_see)
            picture.describe(may_see=may_see, own=None)
        yield found
        for each in found:
            pictures.detach(each, ROOM)


def told(member):
    """The payloads that ``member`` has got."""
    return [json.loads(text)["payload"] for text in member.received]


def joined(member):
    return [each["key"] for payload in told(member) for each in payload["joined"]]


async def test_those_who_join_together_share_a_reading(store):
    async with running() as pictures:
        store.answers.clear()
        first = asyncio.gather(*(pictures.prepare(ROOM, 200) for _ in range(500)))
        await eventually(lambda: store.reads)
        # The first answer may be without these.
        second = asyncio.gather(*(pictures.prepare(ROOM, 200) for _ in range(500)))
        await asyncio.sleep(0)
        store.answers.set()
        await asyncio.gather(first, second)
        assert store.reads == 2


async def test_a_change_is_told_at_once_to_all_viewers(store):
    async with running() as pictures, viewers(pictures, "a", "b") as (a, b):
        await store.come("x")
        pictures.note_change(ROOM)
        await eventually(lambda: joined(a) == joined(b) == ["x"])


async def test_a_change_soon_after_is_told_though_nobody_says_so(store):
    async with running() as pictures, viewers(pictures, "a") as (a,):
        pictures.note_change(ROOM)
        await eventually(lambda: store.reads == 2)
        await store.come("x")
        await eventually(lambda: joined(a) == ["x"])


async def test_a_change_just_before_the_first_viewer_is_told_though_nobody_says_so(store):
    async with running() as pictures, members(viewer := Member("a"), groups=[room_group(ROOM)]):
        await pictures.prepare(ROOM, 200)
        await store.come("x")
        pictures.attach(viewer, ROOM, 200, may_see=True)
        await eventually(lambda: joined(viewer) == ["x"])
        pictures.detach(viewer, ROOM)


async def test_many_who_come_are_told_four_times_a_second_at_most(store):
    loop, times = asyncio.get_running_loop(), []

    class TimedMember(Member):
        def deliver(self, text):
            super().deliver(text)
            times.append(loop.time())

    async with (
        running() as pictures,
        members(viewer := TimedMember("a"), groups=[room_group(ROOM)]),
    ):
        await pictures.prepare(ROOM, 2000)
        pictures.attach(viewer, ROOM, 2000, may_see=True)
        for number in range(1000):
            await store.come(f"{number}")
            pictures.note_change(ROOM)
            if number % 50 == 0:
                await asyncio.sleep(0.05)
        await eventually(lambda: len(joined(viewer)) == 1000)
        pictures.detach(viewer, ROOM)
    assert 3 <= len(times) <= 6
    assert all(later - earlier >= 0.27 for earlier, later in itertools.pairwise(times))


async def test_those_who_see_only_the_number_get_a_message_if_it_changes(store):
    async with running() as pictures, viewers(pictures, "a", may_see=False) as (a,):
        await store.come("x")
        pictures.note_change(ROOM)
        await eventually(lambda: told(a))
        assert [each["total"] for each in told(a)] == [1]
        assert "joined" not in told(a)[0]
        reads = store.reads
        await store.go("x")
        await store.come("y")
        pictures.note_change(ROOM)
        await eventually(lambda: store.reads > reads)
        assert len(told(a)) == 1


async def test_changes_that_could_not_be_read_are_told_when_the_store_is_back(store):
    async with running() as pictures, viewers(pictures, "a") as (a,):
        store.is_away = True
        await store.come("x")
        pictures.note_change(ROOM)
        await eventually(lambda: store.checks > 2)
        assert told(a) == []
        store.is_away = False
        await eventually(lambda: joined(a) == ["x"])


async def test_a_join_while_the_store_is_away_is_refused(store):
    async with running() as pictures:
        store.is_away = True
        with pytest.raises(OutageError):
            await pictures.prepare(ROOM, 200)


async def test_a_change_of_which_nothing_was_heard_is_found(store):
    async with running(period_seconds=0.05) as pictures, viewers(pictures, "a") as (a,):
        await eventually(lambda: store.reads == 2)
        await store.come("x")
        await eventually(lambda: joined(a) == ["x"])


async def test_after_a_doubt_pictures_are_compared_at_once(store):
    async with running() as pictures, viewers(pictures, "a") as (a,):
        await eventually(lambda: store.reads == 2)
        await store.come("x")
        pictures.note_doubt()
        await eventually(lambda: joined(a) == ["x"])


async def test_an_idle_picture_is_compared_and_not_read(store):
    async with running(period_seconds=0.02) as pictures, viewers(pictures, "a") as (a,):
        await eventually(lambda: store.checks > 5)
        assert store.reads <= 2  # For the first viewer.
        assert told(a) == []


async def test_a_store_that_came_back_empty_tells_only_what_is_different(store):
    async with running() as pictures:
        await store.come("x", "y")
        async with viewers(pictures, "a") as (a,):
            await store.forget_all()
            await store.come("y", "z")
            pictures.note_doubt()
            await eventually(lambda: told(a))
            (payload,) = told(a)
            assert ([each["key"] for each in payload["joined"]], payload["left"]) == (["z"], ["x"])


async def test_a_room_without_viewers_is_forgotten(store):
    async with running(period_seconds=0.02, keep_seconds=0.02) as pictures:
        async with viewers(pictures, "a"):
            pass
        await pictures.prepare("never-joined", 200)
        await eventually(lambda: not pictures._rooms)
        await store.come("x")
        reads = store.reads
        pictures.note_change(ROOM)
        assert store.reads == reads


async def test_a_picture_that_is_kept_without_viewers_is_not_read(store):
    async with running() as pictures:
        await pictures.prepare(ROOM, 200)
        pictures.note_change(ROOM)
        await asyncio.sleep(0.05)
        assert store.reads == 1


async def test_a_viewer_that_leaves_takes_nothing_from_one_that_is_about_to_come(store):
    await store.come("x")
    async with running() as pictures, members(viewer := Member("b"), groups=[room_group(ROOM)]):
        async with viewers(pictures, "a"):
            await pictures.prepare(ROOM, 200)
        picture = pictures.attach(viewer, ROOM, 200, may_see=True)
        assert picture.describe(may_see=True, own=None)["total"] == 1
        pictures.detach(viewer, ROOM)


async def test_a_viewer_of_a_room_that_was_forgotten_gets_its_members(store):
    await store.come("x")
    async with running() as pictures, members(viewer := Member("a"), groups=[room_group(ROOM)]):
        picture = pictures.attach(viewer, ROOM, 200, may_see=True)
        assert picture.describe(may_see=True, own=None)["total"] == 0
        await eventually(lambda: joined(viewer) == ["x"])
        pictures.detach(viewer, ROOM)


async def test_members_that_are_held_do_not_reach_a_viewer_that_may_not_see_them_any_more(store):
    async with running() as pictures, viewers(pictures, "a", "b") as (a, b):
        fan_out = get_hub().fan_out
        fan_out.hold(a)
        await store.come("x")
        pictures.note_change(ROOM)
        await eventually(lambda: joined(b) == ["x"])
        picture = pictures.attach(a, ROOM, 200, may_see=False)
        payload = picture.describe_change(did_see=True, may_see=False, own=None)
        pictures.tell(a, ROOM, payload)
        fan_out.release_held(a)
        (payload,) = told(a)
        assert payload.keys() == {"room", "rev", "prev", "total", "me"}
        assert payload["total"] == 1
