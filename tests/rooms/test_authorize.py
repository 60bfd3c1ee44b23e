"""A room's ``authorize`` that is slow, stuck or broken refuses, and affects no other room."""

import asyncio
import gc
import threading
from contextlib import AsyncExitStack, suppress

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.shortcuts import aget_object_or_404, get_object_or_404
from django.utils.functional import SimpleLazyObject

from pm_realtime import arefresh_room
from pm_realtime.rooms.limited_calls import MAX_CALLS_PER_FUNCTION
from tests.support.helpers import (
    Connection,
    assert_refusal,
    connect_many,
    errors_of,
    eventually,
    running_tasks,
)

DETAIL = "secret inside detail"

release = threading.Event()
calls: list[str] = []


def stuck(user, room):
    """Block the thread until the test releases it."""
    calls.append(room)
    release.wait(30)
    return True


async def stuck_async(user, room):
    calls.append(room)
    await asyncio.Event().wait()


async def stubborn(user, room):
    """Go on when cancelled."""
    calls.append(room)
    while not release.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue
    return True


async def deaf_once(user, room):
    """Wait for events that nothing else refers to, and ignore the first cancellation."""
    calls.append(room)
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


def fine(user, room):
    return True


def broken(user, room):
    raise RuntimeError(DETAIL)


async def broken_async(user, room):
    raise RuntimeError(DETAIL)


def late(user, room):
    raise TimeoutError(DETAIL)


async def cancelled(user, room):
    raise asyncio.CancelledError(DETAIL)


may_stay = True


def changes(user, room):
    if may_stay is True:
        return True
    return may_stay(user, room)


@pytest.fixture(autouse=True)
def fresh():
    global may_stay
    release.clear()
    calls.clear()
    may_stay = True
    yield
    release.set()


@pytest.fixture
def use(configure):
    """Configure rooms with these rules, each with the name of its rule."""

    def use(*names, seconds=0.2, **settings):
        rooms = {name: {"authorize": f"tests.rooms.test_authorize.{name}"} for name in names}
        configure(ROOMS=rooms, AUTHORIZE_TIMEOUT=seconds, RATE_LIMIT=None, **settings)

    return use


def warnings_of(caplog):
    return [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("rule", ["stuck", "stuck_async", "stubborn"])
async def test_rule_without_an_answer_in_time_refuses_and_is_logged_once(use, user, caplog, rule):
    use(rule)
    async with Connection(user=user) as connection:
        for _ in range(3):
            refusal = await connection.ask("subscribe", {"room": rule}, id="a")
            assert_refusal(refusal, "FORBIDDEN", id="a", room=rule)
        release.set()
        assert (await connection.ask("message", {"room": rule, "content": 1}))["payload"][
            "code"
        ] == "NOT_IN_ROOM"
    assert calls == [rule] * 3
    (record,) = warnings_of(caplog)
    assert record.name == "pm_realtime.room"
    assert f"tests.rooms.test_authorize.{rule}" in record.message
    assert record.exc_info is None


async def test_rule_that_ignores_its_cancellation_is_not_garbage(use, user, caplog):
    use("deaf_once")
    async with Connection(user=user) as connection:
        refusal = await connection.ask("subscribe", {"room": "deaf_once"}, id="a")
        assert_refusal(refusal, "FORBIDDEN", id="a", room="deaf_once")
    gc.collect()
    assert "destroyed" not in caplog.text
    (rule,) = running_tasks() - {asyncio.current_task()}
    rule.cancel()
    await asyncio.wait({rule})


async def test_rule_that_answers_in_time_decides(use, user):
    use("fine", seconds=20)
    async with Connection(user=user) as connection:
        await connection.subscribe("fine")


async def test_stuck_rule_refuses_only_its_own_rooms_and_recovers(use, user):
    use("stuck", "fine", seconds=0.3, MAX_CONNECTIONS_PER_USER=MAX_CALLS_PER_FUNCTION + 1)
    async with AsyncExitStack() as stack:
        *first, last = await connect_many(stack, MAX_CALLS_PER_FUNCTION + 1, user)
        asking = [connection.ask("subscribe", {"room": "stuck"}) for connection in first]
        refusals = [*await asyncio.gather(*asking), await last.ask("subscribe", {"room": "stuck"})]
        assert {refusal["payload"]["code"] for refusal in refusals} == {"FORBIDDEN"}
        assert len(calls) == MAX_CALLS_PER_FUNCTION
        await last.subscribe("fine")
        release.set()
        while (await last.ask("subscribe", {"room": "stuck"}))["type"] == "error":
            pass
    assert len(calls) == MAX_CALLS_PER_FUNCTION + 1


@pytest.mark.parametrize("rule", ["stuck", "stuck_async"])
async def test_connection_ends_while_its_rule_is_stuck(use, user, rule):
    use(rule, seconds=20)
    async with Connection(user=user) as connection:
        await connection.command("subscribe", {"room": rule})
        await eventually(lambda: calls)
        connection.future.cancel()
    release.set()


@pytest.mark.parametrize("rule", ["broken", "broken_async", "late", "cancelled", "missing"])
async def test_failing_rule_refuses_without_details_and_is_logged_once(use, user, caplog, rule):
    use(rule, seconds=20)
    async with Connection(user=user) as connection:
        for number in range(3):
            refusal = await connection.ask("subscribe", {"room": rule}, id=str(number))
            assert_refusal(refusal, "INTERNAL_ERROR", id=str(number), room=rule)
            assert DETAIL not in str(refusal)
            assert "test_authorize" not in str(refusal)
        assert await connection.is_alive()
    (record,) = errors_of(caplog)
    assert record.name == "pm_realtime.room"
    assert f"tests.rooms.test_authorize.{rule}" in record.message
    assert record.exc_info


@pytest.mark.parametrize("change", [broken, stuck, lambda user, room: False])
async def test_member_leaves_when_its_rule_does_not_allow_it_any_more(use, user, change):
    global may_stay
    use("changes")
    async with Connection(user=user) as connection:
        await connection.subscribe("changes")
        may_stay = change
        await arefresh_room("changes")
        left = await connection.assert_push("unsubscribed")
        assert left["payload"] == {"room": "changes", "success": True, "reason": "forbidden"}


def denied(user, room):
    raise PermissionDenied(DETAIL)


async def denied_async(user, room):
    raise PermissionDenied(DETAIL)


def not_found(user, room):
    return get_object_or_404(Group, name=room)


async def not_found_async(user, room):
    return await aget_object_or_404(Group, name=room)


class Suspended(PermissionDenied):
    pass


def suspended(user, room):
    raise Suspended(DETAIL)


def denied_in_a_coroutine(user, room):
    return denied_async(user, room)


class Expired(type("NotFound", (Exception,), {"__module__": "rest_framework.exceptions"})):
    """Of a site with Django REST framework, which the tests do not install."""


def not_found_by_rest(user, room):
    raise Expired(DETAIL)


@pytest.mark.parametrize(
    "rule",
    [
        "denied",
        "denied_async",
        "not_found",
        "not_found_async",
        "suspended",
        "denied_in_a_coroutine",
        "not_found_by_rest",
    ],
)
async def test_permission_denied_and_http_404_are_a_no(use, user, caplog, rule):
    use(rule, seconds=20)
    async with Connection(user=user) as connection:
        refusal = await connection.ask("subscribe", {"room": rule}, id="a")
        assert_refusal(refusal, "FORBIDDEN", id="a", room=rule)
        assert DETAIL not in str(refusal)
    assert [record for record in caplog.records if record.exc_info] == []
    assert errors_of(caplog) == []
    assert warnings_of(caplog) == []


def known_users(user, room):
    return get_user_model().objects.filter(pk=user.pk)


async def known_users_async(user, room):
    return get_user_model().objects.filter(pk=user.pk)


def no_users(user, room):
    return get_user_model().objects.exclude(pk=user.pk)


async def no_users_async(user, room):
    return get_user_model().objects.exclude(pk=user.pk)


async def no_notes_async(user, room):
    return Group.objects.filter(name="no such group")


def lazy_no(user, room):
    return SimpleLazyObject(lambda: list(no_users(user, room)))


async def lazy_yes_async(user, room):
    return SimpleLazyObject(lambda: list(known_users(user, room)))


async def forgets_await(user, room):
    return no_users_async(user, room)


def returns_an_async_no(user, room):
    return no_users_async(user, room)


def nothing(user, room):
    return None


class DeniedIfAsked:
    def __bool__(self):
        raise PermissionDenied(DETAIL)


async def denied_as_a_bool(user, room):
    return DeniedIfAsked()


class Rule:
    def __call__(self, user, room):
        return known_users(user, room)


class AsyncRule:
    async def __call__(self, user, room):
        return known_users(user, room)


callable_object = Rule()
async_callable_object = AsyncRule()


@pytest.mark.parametrize(
    ("rule", "is_yes"),
    [
        ("known_users", True),
        ("known_users_async", True),
        ("no_users", False),
        ("no_users_async", False),
        ("no_notes_async", False),
        ("lazy_no", False),
        ("lazy_yes_async", True),
        ("forgets_await", False),
        ("returns_an_async_no", False),
        ("nothing", False),
        ("denied_as_a_bool", False),
        ("callable_object", True),
        ("async_callable_object", True),
    ],
)
async def test_value_of_a_rule_becomes_a_bool_in_a_thread(use, user, caplog, rule, is_yes):
    use(rule, seconds=20)
    async with Connection(user=user) as connection:
        answer = await connection.ask("subscribe", {"room": rule}, id="a")
        if is_yes:
            assert answer["type"] == "subscribed"
        else:
            assert_refusal(answer, "FORBIDDEN", id="a", room=rule)
    assert errors_of(caplog) == []


@pytest.mark.parametrize("path", ["missing", "calls", "no.such.module", "nodots", ""])
async def test_rule_that_cannot_be_called_is_named_in_the_log(configure, user, caplog, path):
    path = f"tests.rooms.test_authorize.{path}" if path in ("missing", "calls") else path
    configure(ROOMS={"r:<int:pk>": {"authorize": path}})
    async with Connection(user=user) as connection:
        for _ in range(2):
            refusal = await connection.ask("subscribe", {"room": "r:1"}, id="a")
            assert_refusal(refusal, "INTERNAL_ERROR", id="a", room="r:1")
    (record,) = errors_of(caplog)
    assert "PM_REALTIME[\"ROOMS\"]['r:<int:pk>']['authorize']" in record.getMessage()
    assert repr(path) in record.getMessage()
