"""Members whose process is stopped, killed or frozen, or whose Redis is emptied."""

import asyncio
import contextlib
import signal
import time

import pytest

from tests.integration.presence.run import Run
from tests.integration.presence.truth import BURIAL_SECONDS, TOLD_SECONDS
from tests.support.helpers import eventually

LEASE_SECONDS = 15
#: Pictures are right within this time after Redis has come back, or was emptied.
REPAIR_SECONDS = 5
OPENING_AT_ONCE = 25


async def open_pages(run, users, server=None):
    """A page of each user, at ``server`` if it is given."""
    ports = run.network.ports
    if server is not None:
        run.network.ports = [server.port]
    pages = []
    for start in range(0, len(users), OPENING_AT_ONCE):
        some = users[start : start + OPENING_AT_ONCE]
        pages += await asyncio.gather(*(run.open(user) for user in some))
    run.network.ports = ports
    return pages


def events_of(pages, kinds=("join", "leave", "update")):
    return [
        event
        for page in pages
        for picture in page.pictures.values()
        for event in picture.events
        if event.kind in kinds
    ]


def forget_events(pages):
    for page in pages:
        for picture in page.pictures.values():
            picture.events.clear()


async def until_settled(pages, seconds=20):
    await eventually(lambda: all(page.is_settled for page in pages), seconds)


@pytest.mark.slow
async def test_stop_of_a_process_tells_nothing(tmp_path, valkey):
    """Its clients come back elsewhere within the grace."""
    rooms = {"lobby": {"grace": 3}}
    async with Run(tmp_path, valkey.url, rooms=rooms, users=12) as run:
        first, second = run.servers
        watchers = await open_pages(run, run.users[:2], second)
        pages = await open_pages(run, run.users[2:], first)
        await run.until_quiet()
        forget_events(watchers)
        signals = run.signals()
        run.network.ports = [second.port]
        first.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(first.process.wait, 20)
        await until_settled(pages)
        await run.until_quiet()
        assert events_of(watchers) == []
        assert run.signals() == signals
        assert len(signals) == len(run.users)
        await run.check()
        assert [server.log for server in run.servers] == ["", ""]


@pytest.mark.slow
async def test_members_of_a_killed_process_depart_once(tmp_path, valkey):
    rooms = {"lobby": {"grace": 2}, "desk": {"grace": 2, "per": "connection"}}
    kinds = ("uvicorn", "uvicorn", "daphne")
    async with Run(tmp_path, valkey.url, rooms=rooms, users=30, kinds=kinds) as run:
        doomed, *others = run.servers
        watchers = await open_pages(run, run.users[:4])
        staying = await open_pages(run, run.users[4:10], others[0])
        gone = await open_pages(run, run.users[10:], doomed)
        back = [page for number, page in enumerate(gone) if number % 2]
        watchers = [page for page in [*watchers, *staying] if page.port != doomed.port]
        await run.until_quiet()
        forget_events(watchers)
        for page in run.pages_of(doomed):
            page.notice_seconds = BURIAL_SECONDS
            page.returns = page in back
        run.network.ports = [server.port for server in others]
        killed_at = time.time()
        doomed.kill()
        await eventually(lambda: not any(page.socket and page.port == doomed.port for page in gone))
        await until_settled(back)
        await run.until_quiet()
        dead = {page for page in run.pages if not page.is_settled}
        assert len(dead) >= len(back)
        departed = run.signals("departed")
        assert len(departed) == len(dead) * len(rooms)
        assert max(each["at"] for each in departed) - killed_at < LEASE_SECONDS + 2 + 0.5
        leaves = events_of(watchers, ("leave",))
        assert len(leaves) == len(watchers) * len(departed)
        assert events_of(watchers, ("join",)) == []
        assert len({each["process"] for each in departed}) <= len(others)
        await run.check()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flushed", "restarted"])
async def test_emptied_redis_makes_nobody_depart(tmp_path, valkey, how):
    rooms = {"lobby": {"grace": 1}, "desk": {"grace": 1, "per": "connection"}}
    async with Run(tmp_path, valkey.url, rooms=rooms, users=24) as run:
        pages = await open_pages(run, run.users[:20])
        leaving, newcomers = pages[15:], run.users[20:]
        watchers = pages[:15]
        await run.until_quiet()
        forget_events(watchers)
        for page in leaving:
            page.notice_seconds = REPAIR_SECONDS
        if how == "flushed":
            await asyncio.to_thread(lambda: valkey.client().flushall())
            await asyncio.gather(*(page.close() for page in leaving))
        else:
            await asyncio.to_thread(valkey.crash)
            await asyncio.gather(*(page.close() for page in leaving))
            await asyncio.sleep(1)
            await asyncio.to_thread(valkey.start)
        back_at = time.time()
        new = asyncio.gather(*(run.open(user) for user in newcomers))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPAIR_SECONDS):
                while await run.differences():
                    await asyncio.sleep(0.1)
                print(f"right after {time.time() - back_at:.1f} s")
        assert await run.differences() == []
        await new
        await run.until_quiet()
        gone = {page.known_keys[room] for page in leaving for room in rooms}
        assert {event.key for event in events_of(watchers, ("leave",))} == gone
        assert len(events_of(watchers, ("leave",))) == len(watchers) * len(leaving) * len(rooms)
        assert len(events_of(watchers, ("join",))) == len(watchers) * len(newcomers) * len(rooms)
        departed = [(each["room"], each["key"]) for each in run.signals("departed")]
        assert {key for _, key in departed} == gone
        assert len(departed) == len(set(departed)) == len(leaving) * len(rooms)


@pytest.mark.slow
async def test_frozen_process_is_no_departure_of_who_comes_back(tmp_path, valkey):
    rooms = {"lobby": {"grace": 1}}
    async with Run(tmp_path, valkey.url, rooms=rooms, users=16) as run:
        frozen, other = run.servers
        watchers = await open_pages(run, run.users[:4], other)
        pages = await open_pages(run, run.users[4:], frozen)
        await run.until_quiet()
        forget_events(watchers)
        for page in pages:
            page.notice_seconds = BURIAL_SECONDS
        run.network.ports = [other.port]
        frozen.process.send_signal(signal.SIGSTOP)
        await until_settled(pages, 15)
        await asyncio.sleep(BURIAL_SECONDS)
        assert events_of(watchers) == []
        frozen.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(TOLD_SECONDS)
        await run.until_quiet()
        assert events_of(watchers, ("join", "leave")) == []
        assert len(run.signals()) == len(run.users)
        await run.check()


@pytest.mark.load
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_thousand_who_come_back_at_once_tell_nothing(tmp_path, valkey):
    rooms = {"lobby": {"grace": 60}}
    async with Run(tmp_path, valkey.url, rooms=rooms, users=1002) as run:
        first, second = run.servers
        watchers = await open_pages(run, run.users[:2], second)
        pages = await open_pages(run, run.users[2:], first)
        await eventually(lambda: watchers[0].pictures["lobby"].total == len(run.users))
        told = sum(len(told) for told in watchers[0].pictures["lobby"].told_at)
        began = time.monotonic()
        await asyncio.to_thread(first.stop)
        await asyncio.to_thread(first.start)
        await until_settled(pages, 60)
        print(f"all back after {time.monotonic() - began:.1f} s")
        await asyncio.sleep(TOLD_SECONDS + 5)
        assert sum(len(told) for told in watchers[0].pictures["lobby"].told_at) == told
        # None of those who came back was told anything either.
        assert [page for page in pages if page.pictures["lobby"].told_at[-1]] == []
        assert {page.pictures["lobby"].total for page in pages} == {len(run.users)}
        assert len(run.signals()) == len(run.users)
        await run.check()
