"""What comes up again and again is told at once, and then now and then."""

import pytest

from pm_realtime.observability import log_throttle as module
from pm_realtime.observability.log_throttle import MEMORY, PERIOD, LogThrottle
from tests.support.helpers import Clock


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def error_of(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_thing_is_told_at_first_and_then_once_a_period_with_how_often(clock):
    throttle = LogThrottle()
    assert [throttle.note("a") for _ in range(5)] == [1, 0, 0, 0, 0]
    assert throttle.note("b") == 1
    clock.now += PERIOD
    assert [throttle.note("a") for _ in range(2)] == [5, 0]
    clock.now += PERIOD
    assert throttle.note("a") == 2


def test_not_more_things_are_known_than_fit(clock):
    throttle = LogThrottle()
    for number in range(MEMORY + 1):
        assert throttle.note(number) == 1
    assert throttle.note(MEMORY) == 0
    assert throttle.note(0) == 1


def test_an_exception_is_the_same_where_type_and_line_are(clock):
    throttle = LogThrottle()
    assert throttle.note_error(error_of(int, "x")) == 1
    assert throttle.note_error(error_of(int, "y")) == 0
    assert throttle.note_error(error_of(int, None)) == 1
    assert throttle.note_error(error_of(lambda: {}["x"])) == 1
    assert throttle.note_error(error_of(lambda: {}["x"])) == 1
    assert throttle.note_error(error_of(int, "x"), "elsewhere") == 1
    assert throttle.note_error(ValueError()) == 1
