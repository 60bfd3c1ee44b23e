"""The rates of one connection: of all its commands, of rooms and of commands."""

from types import SimpleNamespace

import pytest

from pm_realtime.auth import anonymous
from pm_realtime.connection.rates import Rates
from pm_realtime.connection.timings import ConnectionTimings
from pm_realtime.exceptions import CloseConnection, CommandError
from tests.support.helpers import Clock


@pytest.fixture
async def clock():
    return Clock()


@pytest.fixture
def rates(configure, clock):
    configure(RATE_LIMIT="2/m")
    return make_rates(clock)


def make_rates(clock, address="8.8.4.4"):
    connection = SimpleNamespace(
        identity=anonymous(),
        scope={"client": (address, 50000)},
        connection_timings=ConnectionTimings(clock=clock.monotonic),
    )
    return Rates(connection)


def count_passed(check, *arguments):
    """How many of eight calls pass."""
    return [passes(check, *arguments) for _ in range(8)].count(True)


def passes(check, *arguments):
    try:
        check(*arguments)
    except CommandError:
        return False
    return True


async def test_room_with_a_rate_counts_by_itself(rates):
    assert count_passed(rates.check_message, "4/s", "board:1") == 4
    assert count_passed(rates.check_message, "4/s", "board:2") == 4
    assert count_passed(rates.check) == 2


async def test_message_to_a_room_without_a_rate_counts_against_the_limit(rates):
    rates.check_message(None, "board:1")
    rates.check_command(None, "bid", "board:1")
    assert count_passed(rates.check) == 0


async def test_command_with_a_rate_counts_in_all_rooms_together(rates):
    assert count_passed(rates.check_command, "4/s", "bid", "auction:1") == 4
    assert not passes(rates.check_command, "4/s", "bid", "auction:2")
    assert count_passed(rates.check_command, "4/s", "ask", "auction:1") == 4
    assert count_passed(rates.check_message, "4/s", "auction:1") == 4


async def test_refusal_says_what_is_expected_and_when(rates, clock):
    rates.check_command("1/m", "bid", "auction:1")
    clock.now += 20
    with pytest.raises(CommandError, match="at most 1/m of these commands") as raised:
        rates.check_command("1/m", "bid", "auction:1")
    assert raised.value.code == "RATE_LIMITED"
    assert raised.value.details == {"retryAfter": 40_000}
    assert raised.value.room == "auction:1"
    rates.check_message("1/m", "board:1")
    with pytest.raises(CommandError, match="at most 1/m messages in this room") as raised:
        rates.check_message("1/m", "board:1")
    assert raised.value.room == "board:1"


async def test_sender_far_over_a_rate_is_closed(rates):
    for _ in range(20 + 20):
        passes(rates.check_message, "20/s", "board:1")
    with pytest.raises(CloseConnection, match="4003"):
        rates.check_message("20/s", "board:1")


async def test_refusals_of_several_rooms_are_not_added_up(rates):
    for room in ("a", "b", "c"):
        rates.check_message("1/m", room)
        for _ in range(10):
            passes(rates.check_message, "1/m", room)


async def test_rates_of_rooms_apply_without_a_limit(rates, configure):
    configure(RATE_LIMIT=None)
    assert count_passed(rates.check) == 8
    assert count_passed(rates.check_message, "4/s", "board:1") == 4
    assert count_passed(rates.check_message, None, "board:2") == 8


@pytest.mark.parametrize("limit", ["2/s", None])
async def test_sender_has_no_new_rate_after_reconnecting(clock, configure, limit):
    configure(RATE_LIMIT=limit)
    first = make_rates(clock)
    assert count_passed(first.check_command, "3/h", "bid") == 3
    first.leave()
    clock.now += 3000
    make_rates(clock, "9.9.9.9").leave()
    second = make_rates(clock)
    assert count_passed(second.check_command, "3/h", "bid") == 0
