"""One picture of what is away, two lines in the log, everybody looks at once."""

import asyncio
import threading

import pytest

from pm_realtime.observability import outages as module
from pm_realtime.observability.outages import Outage


@pytest.fixture
def ours():
    return Outage()


def lines(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_the_log_has_one_line_when_it_begins_and_one_when_it_ends(ours, caplog):
    ours.begin("layer", "the channel layer", "Connection closed.")
    ours.begin("layer", "the channel layer", "again")
    ours.begin("state", "the shared state", "refused")
    ours.count_unsent()
    ours.count_unsent()
    ours.end("layer")
    ours.end("state")
    ours.end("state")
    first, last = lines(caplog)
    assert first == (
        "ERROR",
        "Lost the channel layer: Connection closed. Open connections stay; what needs it is "
        "refused meanwhile.",
    )
    assert last == (
        "WARNING",
        "Back after 0.0 s: the channel layer, the shared state. Pushes that could not be sent: 2.",
    )


def test_the_next_outage_begins_anew(ours, caplog, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0)
    for _ in range(2):
        ours.begin("layer", "the channel layer", "x")
        ours.count_unsent()
        ours.end("layer")
    assert len(lines(caplog)) == 4
    assert lines(caplog)[-1][1].endswith(": 1.")


def test_short_outages_that_follow_each_other_are_told_once(ours, caplog):
    for _ in range(100):
        ours.begin("state", "the shared state", "full")
        ours.end("state")
    assert [level for level, _ in lines(caplog)] == ["ERROR", "WARNING"]


def test_a_long_outage_soon_after_a_short_one_is_told(ours, caplog, monkeypatch):
    ours.begin("state", "the shared state", "x")
    ours.end("state")
    caplog.clear()
    ours.begin("state", "the shared state", "y")
    assert lines(caplog) == []
    monkeypatch.setattr(module, "LONG", 0)
    ours.begin("state", "the shared state", "still y")
    ours.begin("state", "the shared state", "still y")
    ours.end("state")
    assert [level for level, _ in lines(caplog)] == ["ERROR", "WARNING"]


async def test_what_one_loses_the_others_look_into_from_any_thread(ours):
    seen = []
    looked = asyncio.Event()
    ours.watch("layer", lambda: seen.append("layer"))
    ours.watch("state", lambda: (seen.append("state"), looked.set()))
    await asyncio.to_thread(ours.begin, "layer", "the channel layer", "x")
    await asyncio.wait_for(looked.wait(), 5)
    assert seen == ["state"]


async def test_what_one_has_lost_who_stops_watching_stays_lost_until_it_is_reached(ours, caplog):
    ours.watch("layer", lambda: None)
    ours.begin("layer", "the channel layer", "x")
    assert ours.is_watched
    ours.unwatch("layer")
    assert not ours.is_watched
    ours.begin("other", "the channel layer", "x")
    ours.end("other")
    assert len(lines(caplog)) == 1
    ours.end("the channel layer")
    assert lines(caplog)[-1][1].startswith("Back")


def test_a_loop_that_has_ended_is_passed_over(ours):
    async def watch():
        ours.watch("layer", lambda: None)

    asyncio.run(watch())
    ours.suspect()


def test_many_threads_may_speak_at_once(ours, caplog, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0)

    def speak(name):
        for _ in range(200):
            ours.begin(name, "the channel layer", "x")
            ours.end(name)

    threads = [threading.Thread(target=speak, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Lines of two threads may overtake each other: they are written without the lock.
    levels = [level for level, _ in lines(caplog)]
    assert levels.count("ERROR") == levels.count("WARNING") > 0
    assert len(levels) == 2 * levels.count("ERROR")
