"""What a process remembers of orders, for those who come into a group a moment later."""

import pytest

from pm_realtime import orders
from pm_realtime.orders import OrderLog
from tests.helpers import Clock


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(orders, "time", clock)
    return clock


@pytest.fixture
def log(monkeypatch):
    """A log that remembers five orders."""
    monkeypatch.setattr(orders, "MEMORY", 5)
    return OrderLog()


def found(log, moment, *groups):
    return [each.instruction for each in log.since(moment, groups)]


def test_an_order_comes_as_it_was_heard(clock, log):
    log.add("g", "move", {"n": 1})
    (order,) = log.since(clock.now, ["g"])
    assert order == (clock.now, "g", "move", {"n": 1})


def test_those_since_a_moment_come_in_order_and_with_those_of_the_moment_itself(clock, log):
    for name in "abc":
        log.add("g", name, {})
        log.add("g", name.upper(), {})
        clock.now += 1
    assert found(log, 1001.0, "g") == ["b", "B", "c", "C"]
    assert found(log, 1001.5, "g") == ["c", "C"]
    assert found(log, clock.now, "g") == []


def test_only_those_for_the_groups_in_question_come(clock, log):
    for target in ("g", "h", "i", "g"):
        log.add(target, f"to {target}", {})
    assert found(log, 0, "g", "i", "elsewhere") == ["to g", "to i", "to g"]
    assert found(log, 0, "elsewhere") == found(log, 0) == []


def test_where_any_may_be_forgotten_a_refresh_precedes_what_is_left(clock, log):
    for number in range(4):
        log.add("g", str(number), {})
    assert found(log, clock.now, "g") == ["0", "1", "2", "3"]
    for number in range(4, 7):
        log.add("g", str(number), {})
    assert found(log, clock.now, "g") == ["refresh", "2", "3", "4", "5", "6"]
    # Of whom the forgotten ones were for, nobody knows.
    assert found(log, clock.now, "h") == ["refresh"]


def test_what_is_forgotten_from_before_the_moment_is_not_missed(clock, log):
    for number in range(7):
        log.add("g", f"old {number}", {})
    clock.now += 1
    log.add("g", "new", {})
    assert found(log, clock.now, "g") == ["new"]
