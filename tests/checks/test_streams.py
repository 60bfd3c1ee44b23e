"""Checks of the settings of streams."""

import pytest

from tests.checks.messages import VALID_LAYER, only

KEPT = {"history": 1000, "history_ttl": 86_400}


@pytest.mark.parametrize("name", ["RECOVERY_PERIOD", "IDEMPOTENCY_PERIOD"])
def test_w029_period_is_shorter_than_a_dead_network_goes_unnoticed(check, name):
    message = only(check({name: 39}), "W029")
    assert message.msg.startswith(f'PM_REALTIME["{name}"] is 39 s, but a client notices')
    assert "up to 40 s" in message.msg
    assert check({name: 40}) == []
    assert check({name: 5, "HEARTBEAT_INTERVAL": 3, "HEARTBEAT_TIMEOUT": 2}) == []


def test_recovery_may_be_switched_off(check):
    assert check({"RECOVERY_PERIOD": 0}) == []


def test_w030_history_without_any_time(check):
    message = only(check({"RECOVERY_PERIOD": 0, "ROOMS": {"a": {"history": 50}}}), "W030")
    assert message.msg.startswith("PM_REALTIME[\"ROOMS\"]['a']['history'] has no effect")
    assert "history_ttl" in message.hint
    only(check({"RECOVERY_PERIOD": 0, "DEFAULT_ROOM": {"history": 50}}), "W030")
    for options in KEPT, {"history_ttl": 60}, {"history": 0}, {"history": None}:
        assert check({"RECOVERY_PERIOD": 0, "ROOMS": {"a": options}}) == []


def test_w031_history_that_no_memory_holds(check):
    rooms = {"ROOMS": {"a": {"history": 1_000_000}}}
    message = only(check(rooms, CHANNEL_LAYERS={}), "W031")
    assert "is 1,000,000 messages, but HISTORY_MAX_BYTES" in message.msg
    assert check({**rooms, "HISTORY_MAX_BYTES": 10**9}, CHANNEL_LAYERS={}) == []
    assert check({"ROOMS": {"a": KEPT}}, CHANNEL_LAYERS={}) == []
    # Redis has a bound of its own.
    assert check(rooms, CHANNEL_LAYERS=VALID_LAYER) == []


def test_w031_recovery_that_no_memory_holds(check):
    message = only(check({"HISTORY_MAX_BYTES": 100_000}, CHANNEL_LAYERS={}), "W031")
    assert message.msg.startswith('PM_REALTIME["RECOVERY_SIZE"] is 500 messages')
    small = {"HISTORY_MAX_BYTES": 100_000, "RECOVERY_SIZE": 100}
    assert check(small, CHANNEL_LAYERS={}) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"RECOVERY_PERIOD": "60"},
        {"RECOVERY_SIZE": 0},
        {"HISTORY_MAX_BYTES": None},
        {"IDEMPOTENCY_PERIOD": 0},
        {"HEARTBEAT_INTERVAL": "30"},
        {"BACKEND": 5},
    ],
    ids=str,
)
def test_wrong_values_are_named_once(check, broken):
    only(check({**broken, "ROOMS": {"a": {"history": 50}}}, CHANNEL_LAYERS={}), "E003")
