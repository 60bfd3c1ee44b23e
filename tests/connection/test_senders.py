"""The rates and penalties of users and addresses, which outlive their connections."""

import pytest

from pm_realtime import asend_to_user
from pm_realtime.connection.rate_limits import Penalties, Rate
from pm_realtime.connection.senders import MAX_KEPT_LIMITERS, MAX_KEPT_TIMES, Senders
from tests.connection.fakes import application
from tests.support.helpers import Clock, Connection, assert_refused_with, cookie_of

RATE = Rate(3, 60)


class Visitors:
    """Connections of users and addresses, with a clock that the test sets."""

    def __init__(self):
        self.clock = Clock()
        self.application = application(clock=self.clock.monotonic)

    def __call__(self, user=None, address="8.8.4.4"):
        connection = Connection(user=user, application=self.application)
        connection.scope["client"] = (address, 50000)
        return connection

    async def flood(self, user=None, address="8.8.4.4"):
        """Be closed with 4003."""
        async with self(user, address) as connection:
            for _ in range(100):
                await connection.command("ping")
            await connection.assert_closed(4003)
            await connection.assert_ended()

    async def is_refused(self, user=None, address="8.8.4.4"):
        connection = self(None, address)
        if user is not None:
            connection.scope["headers"] = [await cookie_of(user)]
        assert (await connection.connect())[0]
        first = await connection.receive_output()
        if first["type"] == "websocket.close":
            assert first["code"] == 4003
            return True
        await connection.disconnect()
        return False


@pytest.fixture
async def visit(configure):
    configure(RATE_LIMIT="3/m")
    return Visitors()


async def pings(connection, count=4):
    """How many of ``count`` pings are answered."""
    return [await connection.is_alive() for _ in range(count)].count(True)


# The rate


async def test_user_has_no_new_rate_after_reconnecting(visit, user, editor):
    async with visit(user) as connection:
        assert await pings(connection) == 3
    for address in ("8.8.4.4", "9.9.9.9"):
        async with visit(user, address) as connection:
            assert await pings(connection) == 0
    async with visit(editor) as connection:
        assert await pings(connection) == 3
    visit.clock.now += 61
    async with visit(user) as connection:
        assert await pings(connection) == 3


async def test_connections_of_a_user_share_the_rate(visit, user):
    async with visit(user) as first, visit(user) as second:
        assert await pings(first, 2) == 2
        assert await pings(second) == 1
        assert await pings(first, 1) == 0
    async with visit(user) as third:
        assert await pings(third, 1) == 0


async def test_address_has_no_new_rate_after_reconnecting(visit):
    async with visit() as connection:
        assert await pings(connection) == 3
    async with visit() as connection:
        assert await pings(connection) == 0
    async with visit(address="9.9.9.9") as connection:
        assert await pings(connection) == 3


async def test_visitors_of_one_address_have_a_rate_each(visit):
    async with visit() as first, visit() as second:
        assert await pings(first) == await pings(second) == 3
    async with visit() as first, visit() as second, visit() as third:
        assert await pings(first) == await pings(second) == 0
        assert await pings(third) == 3


async def test_visitors_without_a_known_address_have_a_rate_each(visit):
    for _ in range(2):
        async with visit(address="127.0.0.1") as connection:
            assert await pings(connection) == 3


async def test_page_that_is_loaded_again_joins_its_rooms(visit, user, configure):
    configure(MAX_ROOMS_PER_CONNECTION=2)
    async with visit(user) as connection:
        assert await pings(connection, 3) == 3
    for _ in range(5):
        async with visit(user) as connection:
            await connection.subscribe("a")
            await connection.subscribe("b")
            refusal = await connection.ask("subscribe", {"room": "a"})
            assert refusal["payload"]["code"] == "RATE_LIMITED"
            assert await pings(connection, 1) == 0


async def test_user_who_loads_pages_is_not_limited(user):
    """With the defaults: a page with ten rooms every ten seconds, in five tabs."""
    visit = Visitors()
    for _ in range(12):
        visit.clock.now += 10
        async with visit(user) as connection:
            for room in range(10):
                await connection.subscribe(f"room {room}")
            assert await pings(connection, 2) == 2
            await asend_to_user(user, "note")
            await connection.assert_push("note")


# Penalties


async def test_user_who_flooded_is_kept_out_for_longer_each_time(visit, user, editor):
    for seconds in (1, 2, 4, 8):
        await visit.flood(user)
        assert await visit.is_refused(user, "9.9.9.9")
        assert not await visit.is_refused(editor)
        assert not await visit.is_refused()
        visit.clock.now += seconds - 0.1
        assert await visit.is_refused(user)
        visit.clock.now += 0.2
        assert not await visit.is_refused(user)
        visit.clock.now += 60
    visit.clock.now += Penalties.CALM_SECONDS
    await visit.flood(user)
    visit.clock.now += 1.1
    assert not await visit.is_refused(user)


async def test_address_that_flooded_is_kept_out(visit, user):
    await visit.flood()
    refused = visit()
    await assert_refused_with(refused, 4003)
    assert not await visit.is_refused(user)
    assert not await visit.is_refused(address="9.9.9.9")
    visit.clock.now += 1.1
    assert not await visit.is_refused()


async def test_address_is_not_kept_out_for_longer_than_other_visitors_try(visit):
    for seconds in (1, 2, 4, 8, 8, 8):
        await visit.flood()
        visit.clock.now += seconds - 0.1
        assert await visit.is_refused()
        visit.clock.now += 0.2
        assert not await visit.is_refused()
        visit.clock.now += 60


async def test_other_connections_of_a_user_who_flooded_stay(visit, user):
    async with visit(user) as other:
        await visit.flood(user)
        await asend_to_user(user, "note")
        await other.assert_push("note")
        assert await pings(other, 10) == 0
        await asend_to_user(user, "note")
        await other.assert_push("note")


async def test_connection_after_a_penalty_is_not_closed_for_earlier_refusals(visit, user):
    for who in (user, None):
        await visit.flood(who)
        visit.clock.now += 1.1
        async with visit(who) as connection:
            assert await pings(connection, 10) == 0
        assert not await visit.is_refused(who)


def test_penalty_has_an_upper_bound_and_does_not_grow_while_it_lasts():
    penalties, now, waits = Penalties(10), 0.0, []
    for _ in range(10):
        penalties.add("key", now, 64)
        penalties.add("key", now, 64)
        waits.append(penalties.wait("key", now))
        now += waits[-1]
        assert penalties.wait("key", now) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 64, 64, 64]


def test_penalties_are_limited_in_number_and_end():
    penalties = Penalties(10)
    for number in range(50):
        penalties.add(number, 0.0, 64)
    assert len(penalties) == 10
    assert penalties.wait(49, 0.0) == 1
    for number in range(10):
        penalties.add(100 + number % 2, 700.0 + number, 64)
    assert len(penalties) <= 2


# Memory


def keep(senders, key, now, *, rate=RATE, is_used=True):
    limiter = senders.limiter_for(key, is_shared=False)
    if is_used:
        limiter.take(rate, now)
    senders.keep(key, limiter, now, rate)


def test_limiters_are_kept_for_one_window():
    senders = Senders()
    for number in range(100):
        keep(senders, number, 0.0)
    assert len(senders) == 100
    for number in range(30):
        keep(senders, f"later {number}", 61.0)
    assert len(senders) == 30


def test_limiters_are_kept_for_the_longest_window_of_a_command():
    senders, rate = Senders(), Rate(1, 3600)
    limiter = senders.limiter_for("key", is_shared=False)
    limiter.take_from("command", rate, 0.0)
    senders.keep("key", limiter, 0.0, None)
    keep(senders, "other", 3599.0)
    again = senders.limiter_for("key", is_shared=False)
    assert again.take_from("command", rate, 3599.0) == 1
    senders.keep("key", again, 3599.0, None)
    keep(senders, "other", 3601.0)
    assert senders.limiter_for("key", is_shared=False) is not again


def test_limiter_of_malformed_frames_is_kept_for_a_window():
    senders = Senders()
    limiter = senders.limiter_for("key", is_shared=False)
    limiter.count_malformed(RATE, 100.0)
    senders.keep("key", limiter, 100.0, RATE)
    keep(senders, "other", 159.0)
    assert senders.limiter_for("key", is_shared=False).count_malformed(RATE, 159.0) == 2


def test_limiter_without_a_message_is_not_kept():
    senders = Senders()
    keep(senders, "key", 0.0, is_used=False)
    assert len(senders) == 0


def test_number_of_limiters_is_limited():
    senders = Senders()
    for number in range(MAX_KEPT_LIMITERS + 100):
        keep(senders, number, 0.0)
    assert len(senders) == MAX_KEPT_LIMITERS


def test_number_of_times_in_all_limiters_is_limited():
    senders, rate, per_limiter = Senders(), Rate(100_000, 86400), MAX_KEPT_TIMES // 20
    for number in range(25):
        limiter = senders.limiter_for(number, is_shared=False)
        limiter._taken.extend([0.0] * (per_limiter // 2))
        limiter.take_from("command", rate, 0.0)
        limiter._buckets["command"]._taken.extend([0.0] * (per_limiter // 2))
        senders.keep(number, limiter, 0.0, rate)
    assert len(senders) == 19


def test_limiter_that_is_kept_twice_counts_once():
    senders = Senders()
    limiter = senders.limiter_for("user", is_shared=True)
    for now in (0.0, 1.0, 2.0):
        limiter.take(RATE, now)
        senders.keep("user", limiter, now, RATE)
    assert len(senders) == 1
    keep(senders, "other", 100.0)
    assert len(senders) == 1
