"""How hosts are read, and which mistakes in them are reported."""

import pytest

from pm_realtime.redis import (
    address_of,
    driver_for_asyncio,
    driver_for_threads,
    host_problems,
    open_pools,
    read_hosts,
)

SENTINEL = {"sentinels": [("127.0.0.1", 26379), ("127.0.0.1", 26380)], "master_name": "main"}
DRIVERS = [driver_for_threads, driver_for_asyncio]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (None, [{"address": "redis://localhost:6379"}]),
        ([], [{"address": "redis://localhost:6379"}]),
        (["redis://one"], [{"address": "redis://one"}]),
        ([("one", 1)], [{"host": "one", "port": 1}]),
        ([["one", 1], {"host": "two"}], [{"host": "one", "port": 1}, {"host": "two"}]),
    ],
)
def test_hosts_are_read_as_channels_redis_reads_them(hosts, expected):
    assert read_hosts(hosts) == expected


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        ("redis://one", "a list"),
        (5, "a list"),
        (("one", 6379), "a list of pairs"),
        ([("one",)], "1 of the two"),
    ],
)
def test_hosts_that_are_no_list_of_hosts_are_refused(hosts, reason):
    with pytest.raises(ValueError, match=reason):
        read_hosts(hosts)


def test_each_wrong_host_is_reported_by_its_position():
    hosts = ["redis://one", "http://one", ("one", "x"), {"bogus": 1}]
    places, problems = zip(*host_problems(hosts), strict=True)
    assert places == ("[1]", "[2]", "[3]")
    for problem, word in zip(problems, ("redis://", "'x'", "bogus"), strict=True):
        assert word in problem


def test_hosts_that_are_no_list_are_one_problem():
    ((place, problem),) = host_problems("redis://one")
    assert place == ""
    assert "a list" in problem


def patience_of(driver):
    """The time of a busy event loop does not count, so its callers bound their calls."""
    return 1 if driver is driver_for_threads else 10


@pytest.mark.parametrize("driver", DRIVERS)
def test_sentinels_share_the_time_with_the_server(driver):
    pool, *sentinels = open_pools(SENTINEL, 3, driver)
    assert address_of(pool) == "main"
    assert pool.connection_kwargs["socket_timeout"] == 3 * patience_of(driver)
    assert [sentinel.connection_kwargs["socket_timeout"] for sentinel in sentinels] == [1, 1]


@pytest.mark.parametrize("driver", DRIVERS)
def test_options_of_the_caller_go_before_those_of_the_host(driver):
    (pool,) = open_pools(
        {"address": "redis://one/2", "max_connections": 9, "socket_timeout": None},
        1.5,
        driver,
        max_connections=4,
    )
    assert pool.max_connections == 4
    assert pool.connection_kwargs["socket_timeout"] == 1.5 * patience_of(driver)
    assert pool.connection_kwargs["db"] == 2


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ({"address": "http://ann:secret@one"}, "http://***@one"),
        ({"address": "redis://one:secret?x"}, "its port is no number"),
        ({"address": "redis://:se/cret@one"}, "***@one"),
        ({"address": "redis://one?bogus=1&password=secret"}, "bogus"),
        ({"host": "one", "password": "secret", "bogus": 1}, "'password'"),
        ({"master_name": "main", "password": "secret"}, "'sentinels' is missing"),
    ],
)
def test_problem_of_a_host_never_shows_a_password(host, shown):
    with pytest.raises(ValueError, match=r".") as caught:
        open_pools(host, 1, driver_for_threads)
    assert "secret" not in str(caught.value)
    assert shown in str(caught.value)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ({"address": "redis://:secret@one:1/2"}, "one:1"),
        ({"address": "rediss://one"}, "one:6379"),
        ({"address": "unix:///run/redis.sock"}, "/run/redis.sock"),
        ({"host": "one"}, "one:6379"),
    ],
)
def test_address_of_a_pool_has_no_password(host, address):
    (pool,) = open_pools(host, 1, driver_for_threads)
    assert address_of(pool) == address
