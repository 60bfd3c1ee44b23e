"""Rates and the sliding window that counts them; time is given, never waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pm_realtime.conf import Rate, parse_rate
from pm_realtime.connection.rate_limits import MAX_BUCKETS, Meter, RateLimiter, Refusals

START = 1000.0


@pytest.fixture
def limiter():
    return RateLimiter()


def take_all(limiter, rate, now):
    """Fill the window at one moment."""
    for _ in range(rate.count):
        assert limiter.take(rate, now) == 0


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [
        ("60/m", 60, 60),
        ("1/s", 1, 1),
        ("5/sec", 5, 1),
        ("5/second", 5, 1),
        ("5/min", 5, 60),
        ("5/minute", 5, 60),
        ("1000/h", 1000, 3600),
        ("1000/hour", 1000, 3600),
        ("7/d", 7, 86400),
        ("7/day", 7, 86400),
    ],
)
def test_rate_is_a_count_and_a_unit(text, count, seconds):
    assert parse_rate(text) == Rate(count, seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", "60", "/m", "60/", "0/m", "-1/m", "1.5/m", "60 / m", " 60/m", "60/m\n", "60/5m"),
        *("m/60", "60/fortnight", "60/M", "60//m", "sixty/m", "06/m", "60/ms"),
        *(None, 60, 1.5, b"60/m", ()),
    ],
)
def test_wrong_rate_is_refused_with_a_helpful_message(text):
    with pytest.raises(ValueError, match="'60/m'") as raised:
        parse_rate(text)
    assert f"got {text!r}" in str(raised.value)


def test_rate_is_immutable():
    with pytest.raises(AttributeError):
        parse_rate("60/m").count = 100


def test_sixty_messages_fit_in_a_minute_and_the_sixty_first_does_not(limiter):
    rate = parse_rate("60/m")
    assert [limiter.take(rate, START + second / 2) for second in range(60)] == [0] * 60
    assert limiter.take(rate, START + 30) > 0


def test_wait_lasts_until_the_oldest_message_leaves_the_window(limiter):
    rate = parse_rate("2/m")
    limiter.take(rate, START)
    limiter.take(rate, START + 10)
    assert limiter.take(rate, START + 15) == 45
    assert limiter.take(rate, START + 59.5) == 0.5


def test_after_the_wait_one_message_fits(limiter):
    rate = parse_rate("2/m")
    limiter.take(rate, START)
    limiter.take(rate, START + 10)
    now = START + 15
    wait = limiter.take(rate, now)
    assert limiter.take(rate, now + wait) == 0
    assert limiter.take(rate, now + wait) == 10


def test_window_slides(limiter):
    rate = parse_rate("4/m")
    for second in (0, 20, 40, 59):
        assert limiter.take(rate, START + second) == 0
    assert limiter.take(rate, START + 60) == 0
    assert limiter.take(rate, START + 61) == 19
    assert limiter.take(rate, START + 80) == 0
    assert limiter.take(rate, START + 80) == 20


def test_refused_message_does_not_count(limiter):
    rate = parse_rate("2/s")
    take_all(limiter, rate, START)
    for _ in range(100):
        assert limiter.take(rate, START + 0.5) == 0.5
    take_all(limiter, rate, START + 1)


@pytest.mark.parametrize("start", [0.1, 0.3, 17.3, 123456.789, 1e9 + 0.7])
def test_message_one_window_later_is_counted_despite_rounding(limiter, start):
    rate = parse_rate("1/m")
    limiter.take(rate, start)
    answers = [limiter.take(rate, start + 60) for _ in range(3)]
    assert answers.count(0) <= 1


def test_lower_rate_applies_from_the_next_message_on(limiter):
    for second in range(5):
        limiter.take(parse_rate("5/m"), START + second)
    assert limiter.take(parse_rate("2/m"), START + 10) == 53
    assert limiter.take(parse_rate("2/m"), START + 63) == 0
    assert limiter.take(parse_rate("2/m"), START + 63) == 1


def test_higher_rate_applies_from_the_next_message_on(limiter):
    take_all(limiter, parse_rate("2/m"), START)
    for _ in range(3):
        assert limiter.take(parse_rate("5/m"), START + 1) == 0
    assert limiter.take(parse_rate("5/m"), START + 1) == 59


def test_each_limiter_has_its_own_window():
    first, second = RateLimiter(), RateLimiter()
    rate = parse_rate("1/m")
    assert first.take(rate, START) == second.take(rate, START) == 0


def test_buckets_count_by_themselves(limiter):
    rate = parse_rate("2/m")
    take_all(limiter, rate, START)
    for bucket in ("a", "b"):
        assert [limiter.take_from(bucket, rate, START) for _ in range(3)] == [0, 0, 60]
    assert limiter.take(rate, START) == 60
    assert limiter.take_from("a", rate, START + 60) == 0


def test_number_of_buckets_is_limited_and_the_latest_stay(limiter):
    rate = parse_rate("1/d")
    for number in range(MAX_BUCKETS + 50):
        assert limiter.take_from(number, rate, START + number) == 0
        assert limiter.take_from("often", rate, START + number) == (86400 - number if number else 0)
    assert limiter.count_all() == MAX_BUCKETS
    assert limiter.take_from(MAX_BUCKETS + 49, rate, START + 600) > 0


def test_buckets_whose_windows_are_over_go(limiter):
    for number in range(100):
        limiter.take_from(number, parse_rate("1/s"), START)
    for number in range(100, 120):
        limiter.take_from(number, parse_rate("1/s"), START + 2)
    assert limiter.count_all() == 20


@pytest.mark.parametrize(
    ("text", "patience"), [("60/m", 60), ("20/s", 20), ("1/s", 10), ("10/m", 10)]
)
def test_abuse_is_more_refusals_than_a_window_holds_but_at_least_ten(text, patience):
    rate, refusals = parse_rate(text), Refusals()
    for _ in range(patience):
        assert not refusals.add(rate, START)
    assert refusals.add(rate, START)


def test_refusals_are_forgotten_after_a_window():
    rate, refusals = parse_rate("1/m"), Refusals()
    for minute in range(20):
        for _ in range(9):
            assert not refusals.add(rate, START + minute * 60 + 1)


MOMENTS = st.lists(st.floats(min_value=0, max_value=1e6, allow_nan=False), min_size=1, max_size=60)


@given(count=st.integers(1, 6), times=MOMENTS)
def test_no_window_ever_holds_more_than_the_count(count, times):
    rate, limiter = Rate(count, 60), RateLimiter()
    taken = [now for now in sorted(times) if limiter.take(rate, now) == 0]
    for first, one_too_many in zip(taken, taken[count:], strict=False):
        assert one_too_many - first >= rate.seconds or one_too_many >= first + rate.seconds


@given(count=st.integers(1, 6), times=st.lists(st.integers(0, 600), min_size=1, max_size=60))
def test_message_is_refused_only_if_the_window_is_full(count, times):
    rate, limiter = Rate(count, 60), RateLimiter()
    taken = []
    for now in sorted(times):
        inside = [then for then in taken if then > now - rate.seconds]
        wait = limiter.take(rate, now)
        if len(inside) < count:
            assert wait == 0
            taken.append(now)
        else:
            assert wait == inside[0] + rate.seconds - now
            assert wait > 0


# Many keys


def take(meter, key, rate, now, times=1):
    return [meter.take(key, parse_rate(rate), now) for _ in range(times)]


def test_bucket_of_a_key_fills_up_again():
    meter = Meter(100)
    assert take(meter, "a", "4/m", START, 4) == [0] * 4
    assert take(meter, "a", "4/m", START, 2) == [15, 15]
    assert take(meter, "b", "4/m", START) == [0]
    assert take(meter, "a", "4/m", START + 14) == [1]
    assert take(meter, "a", "4/m", START + 15, 2) == [0, 15]
    assert take(meter, "a", "4/m", START + 1000, 5) == [0] * 4 + [15]


@pytest.mark.parametrize("start", [0.1, 17.3, 123456.789, 1e9 + 0.7])
def test_after_the_wait_one_more_of_a_key_fits(start):
    meter = Meter(100)
    take(meter, "a", "1200/m", start, 1200)
    for _ in range(50):
        (wait,) = take(meter, "a", "1200/m", start)
        assert wait > 0
        start += wait
        assert take(meter, "a", "1200/m", start) == [0]


def test_latest_keys_are_known():
    meter = Meter(3)
    for key in "abcd":
        take(meter, key, "1/h", START)
    assert len(meter) == 3
    assert take(meter, "b", "1/h", START)[0] > 0
    assert take(meter, "e", "1/h", START) == [0]
    assert take(meter, "b", "1/h", START)[0] > 0
    assert take(meter, "c", "1/h", START) == [0]


def test_full_buckets_are_forgotten():
    meter = Meter(1000)
    for key in range(1000):
        take(meter, key, "60/m", START)
    for key in range(1000):
        take(meter, "other", "60/m", START + 10 + key)
    assert len(meter) == 1
    meter.clear()
    assert len(meter) == 0


def test_wait_is_that_of_the_present_rate():
    meter = Meter(10)
    take(meter, "a", "1/d", START)
    assert take(meter, "a", "60/m", START + 1) == [1]
    assert take(meter, "a", "60/m", START + 2) == [0]


@given(count=st.integers(1, 6), times=MOMENTS)
def test_no_window_ever_holds_more_than_twice_the_count(count, times):
    rate, meter = Rate(count, 60), Meter(10)
    taken = [now for now in sorted(times) if meter.take("a", rate, now) == 0]
    for first, far in zip(taken, taken[2 * count :], strict=False):
        assert far - first >= rate.seconds - 0.001


def test_high_rate_is_exact_too(limiter):
    rate = Rate(5000, 60)
    for number in range(rate.count):
        assert limiter.take(rate, START + number / 1000) == 0
    assert limiter.take(rate, START + 59) == pytest.approx(1)
    assert limiter.take(rate, START + 60) == 0
    assert limiter.take(rate, START + 60) == pytest.approx(0.001)
    for _ in range(2500):
        assert limiter.take(rate, START + 63) == 0
    assert limiter.take(rate, START + 200) == 0
