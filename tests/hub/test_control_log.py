"""The control messages that a process remembers for connections that join a moment later."""

import pytest

from pm_realtime.hub.control_log import ControlLog
from pm_realtime.layer import Refresh, RefreshRoom
from tests.support.helpers import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log(clock):
    """A log that remembers five messages."""
    return ControlLog(max_messages=5, clock=clock.monotonic)


def rooms(log, moment, *groups):
    return [each.room for each in log.since(moment, groups)]


def test_messages_since_a_moment_come_in_order_with_those_of_that_moment(clock, log):
    for name in "ab":
        log.add("g", RefreshRoom(name))
        log.add("g", RefreshRoom(name.upper()))
        clock.now += 1
    assert rooms(log, 1000.0, "g") == ["a", "A", "b", "B"]
    assert rooms(log, 1000.5, "g") == ["b", "B"]
    assert rooms(log, 1001.0, "g") == ["b", "B"]
    assert rooms(log, clock.now, "g") == []


def test_messages_for_other_groups_are_left_out(log):
    for target in ("g", "h", "i", "g"):
        log.add(target, RefreshRoom(f"to {target}"))
    assert rooms(log, 0, "g", "i", "elsewhere") == ["to g", "to i", "to g"]
    assert rooms(log, 0, "elsewhere") == rooms(log, 0) == []


def test_refresh_comes_first_if_messages_may_be_forgotten(clock, log):
    messages = [RefreshRoom(str(number)) for number in range(7)]
    for message in messages[:4]:
        log.add("g", message)
    assert log.since(clock.now, ["g"]) == messages[:4]
    for message in messages[4:]:
        log.add("g", message)
    assert log.since(clock.now, ["g"]) == [Refresh(), *messages[2:]]
    # The forgotten messages may have been for any group.
    assert log.since(clock.now, ["h"]) == [Refresh()]


def test_forgotten_messages_from_before_the_moment_do_not_matter(clock, log):
    for number in range(7):
        log.add("g", RefreshRoom(f"old {number}"))
    clock.now += 1
    log.add("g", RefreshRoom("new"))
    assert rooms(log, clock.now, "g") == ["new"]
