"""The throttle for repeated log lines."""

import logging

import pytest

from pm_realtime.observability.log_throttle import LogThrottle, log_failure
from tests.support.helpers import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return LogThrottle(period_seconds=60, max_events=3, clock=clock.monotonic)


def error_of(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_event_is_logged_at_first_and_then_once_a_period_with_its_count(throttle, clock):
    assert [throttle.note("a") for _ in range(5)] == [1, 0, 0, 0, 0]
    assert throttle.note("b") == 1
    clock.now += 60
    assert [throttle.note("a") for _ in range(2)] == [5, 0]
    clock.now += 60
    assert throttle.note("a") == 2


def test_oldest_event_is_forgotten_at_the_maximum(throttle):
    assert [throttle.note(number) for number in range(4)] == [1] * 4
    assert throttle.note(3) == 0
    assert throttle.note(0) == 1


def test_cleared_throttle_knows_no_event(throttle):
    throttle.note("a")
    throttle.clear()
    assert throttle.note("a") == 1


def test_errors_of_one_type_and_line_are_the_same_event():
    throttle = LogThrottle()
    assert throttle.note_error(error_of(int, "x")) == 1
    assert throttle.note_error(error_of(int, "y")) == 0
    assert throttle.note_error(error_of(int, None)) == 1
    assert throttle.note_error(error_of(lambda: {}["x"])) == 1
    assert throttle.note_error(error_of(lambda: {}["x"])) == 1
    assert throttle.note_error(error_of(int, "x"), "elsewhere") == 1
    assert throttle.note_error(ValueError()) == 1


def test_repeated_error_is_logged_with_the_number_of_times(clock, throttle, caplog, monkeypatch):
    monkeypatch.setattr("pm_realtime.observability.log_throttle.throttle", throttle)
    error = error_of(int, "x")
    for _ in range(3):
        log_failure(logging.getLogger("pm_realtime"), "A command failed.", error)
    clock.now += 60
    log_failure(logging.getLogger("pm_realtime"), "A command failed.", error)
    assert caplog.messages == ["A command failed.", "A command failed. (3 times)"]
