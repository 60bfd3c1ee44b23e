"""Outages: one picture of the process, two lines in the log, and a check by every watcher."""

import asyncio
import threading

import pytest

from pm_realtime.observability import LAYER, STATE
from pm_realtime.observability.outages import Outage
from tests.support.helpers import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outage(clock):
    return Outage(quiet_seconds=10, long_seconds=2, clock=clock.monotonic)


def lines(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def levels(caplog):
    return [record.levelname for record in caplog.records]


def test_one_line_at_the_begin_and_one_at_the_end_of_an_outage(outage, clock, caplog):
    outage.begin("a watcher", LAYER, "Connection closed.")
    outage.begin("a watcher", LAYER, "again")
    outage.begin("another", STATE, "refused")
    assert outage.lost == (LAYER, STATE)
    outage.count_unsent()
    outage.count_unsent()
    clock.now += 1.5
    outage.end("a watcher")
    outage.end("another")
    outage.end("another")
    assert outage.lost == ()
    assert lines(caplog) == [
        (
            "ERROR",
            "Lost the channel layer: Connection closed. Open connections stay open; calls that "
            "need it fail until it is back.",
        ),
        (
            "WARNING",
            "Back after 1.5 s: the channel layer, the shared state. Pushes that could not be "
            "sent: 2.",
        ),
    ]


def test_next_outage_counts_from_zero(outage, clock, caplog):
    for _ in range(2):
        outage.begin("a watcher", LAYER, "x")
        outage.count_unsent()
        outage.end("a watcher")
        clock.now += 11
    assert len(lines(caplog)) == 4
    assert lines(caplog)[-1][1].endswith(": 1.")


def test_short_outages_soon_after_a_logged_one_are_not_logged(outage, clock, caplog):
    for _ in range(90):
        outage.begin("a watcher", STATE, "full")
        outage.end("a watcher")
        clock.now += 0.1
    assert levels(caplog) == ["ERROR", "WARNING"]


def test_long_outage_soon_after_a_logged_one_is_logged(outage, clock, caplog):
    outage.begin("a watcher", STATE, "x")
    outage.end("a watcher")
    caplog.clear()
    outage.begin("a watcher", STATE, "y")
    assert lines(caplog) == []
    clock.now += 3
    outage.begin("a watcher", STATE, "still y")
    outage.begin("a watcher", STATE, "still y")
    outage.end("a watcher")
    assert levels(caplog) == ["ERROR", "WARNING"]


def test_cleared_outage_is_logged_again(outage, caplog):
    for _ in range(2):
        outage.begin("a watcher", STATE, "x")
        outage.clear()
        assert outage.lost == ()
    assert levels(caplog) == ["ERROR", "ERROR"]


async def test_other_watchers_check_when_one_loses_its_part_in_any_thread(outage):
    checked = []
    has_checked = asyncio.Event()
    outage.watch("layer", lambda: checked.append("layer"))
    outage.watch("state", lambda: (checked.append("state"), has_checked.set()))
    await asyncio.to_thread(outage.begin, "layer", LAYER, "x")
    await asyncio.wait_for(has_checked.wait(), 5)
    assert checked == ["state"]


async def test_part_lost_by_a_forgotten_watcher_is_back_when_its_name_is_ended(outage, caplog):
    outage.watch("layer", lambda: None)
    outage.begin("layer", LAYER, "x")
    assert outage.is_watched
    outage.unwatch("layer")
    assert not outage.is_watched
    outage.begin("other", LAYER, "x")
    outage.end("other")
    assert len(lines(caplog)) == 1
    outage.end(LAYER)
    assert lines(caplog)[-1][1].startswith("Back")


def test_watcher_of_a_closed_loop_is_passed_over(outage):
    async def watch():
        outage.watch("layer", lambda: None)

    asyncio.run(watch())
    outage.suspect()


def test_threads_may_report_at_once(caplog):
    outage = Outage(quiet_seconds=0)

    def report(name):
        for _ in range(200):
            outage.begin(name, LAYER, "x")
            outage.end(name)

    threads = [threading.Thread(target=report, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Lines of two threads may overtake each other: they are written without the lock.
    assert levels(caplog).count("ERROR") == levels(caplog).count("WARNING") > 0
    assert set(levels(caplog)) == {"ERROR", "WARNING"}
