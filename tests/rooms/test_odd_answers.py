"""A rule that answers neither yes nor no lets nobody in."""

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseForbidden

from pm_realtime.rooms.limited_calls import MAX_CALLS_PER_FUNCTION
from tests.support.helpers import Connection, assert_refusal, errors_of

DETAIL = "secret inside detail"


@pytest.fixture
def use(configure):
    def use(name):
        rooms = {name: {"authorize": f"{__name__}.{name}"}}
        configure(ROOMS=rooms, AUTHORIZE_TIMEOUT=20, RATE_LIMIT=None)

    return use


def no_next(user, room):
    return next(iter(()))


async def no_next_async(user, room):
    return next(iter(()))


def exits(user, room):
    raise SystemExit(DETAIL)


def ends_a_generator(user, room):
    raise GeneratorExit(DETAIL)


@pytest.mark.parametrize("rule", ["no_next", "no_next_async", "exits", "ends_a_generator"])
async def test_rule_that_raises_what_no_task_takes_refuses_at_once(use, user, caplog, rule):
    use(rule)
    async with Connection(user=user) as connection:
        for _ in range(MAX_CALLS_PER_FUNCTION + 1):
            refusal = await connection.ask("subscribe", {"room": rule}, id="a")
            assert_refusal(refusal, "INTERNAL_ERROR", id="a", room=rule)
    assert errors_of(caplog)[0].exc_info


def method(user, room):
    return user.has_perm


async def async_method(user, room):
    return user.groups.aexists


def manager(user, room):
    return user.groups


def manager_of_all(user, room):
    return type(user).objects


def not_implemented(user, room):
    return user.pk.__eq__("1")


def generator(user, room):
    yield False


async def async_generator(user, room):
    yield False


def filtered(user, room):
    return filter(None, [False])


def returned_denial(user, room):
    return PermissionDenied(DETAIL)


def response(user, room):
    return HttpResponseForbidden(DETAIL)


@pytest.mark.parametrize(
    "rule",
    [
        "method",
        "async_method",
        "manager",
        "manager_of_all",
        "not_implemented",
        "generator",
        "async_generator",
        "filtered",
        "returned_denial",
        "response",
    ],
)
async def test_value_that_is_always_true_lets_nobody_in(use, user, caplog, rule):
    use(rule)
    async with Connection(user=user) as connection:
        refusal = await connection.ask("subscribe", {"room": rule}, id="a")
        assert_refusal(refusal, "INTERNAL_ERROR", id="a", room=rule)
    (record,) = errors_of(caplog)
    assert "expected True or False" in str(record.exc_info[1])
