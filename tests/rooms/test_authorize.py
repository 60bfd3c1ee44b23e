"""A room's ``authorize`` that is slow, stuck or wrong denies, and harms nothing else."""

import asyncio
import threading

import pytest

from pm_realtime import arefresh_room
from pm_realtime.rooms import authorize
from tests.support.helpers import Connection, assert_refusal, errors_of, eventually

DETAIL = "secret inside detail"

release = threading.Event()
asked: list[str] = []


def stuck(user, room):
    """Blocks its thread until the test lets it go."""
    asked.append(room)
    release.wait(30)
    return True


async def stuck_async(user, room):
    asked.append(room)
    await asyncio.Event().wait()


async def stubborn(user, room):
    """Goes on when it is cancelled."""
    asked.append(room)
    while not release.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue
    return True


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
    asked.clear()
    may_stay = True
    yield
    release.set()


@pytest.fixture
def use(configure):
    """Rooms with these rules, each named like its rule."""

    def use(*names, seconds=0.2, **settings):
        rooms = {name: {"authorize": f"tests.rooms.test_authorize.{name}"} for name in names}
        configure(ROOMS=rooms, AUTHORIZE_TIMEOUT=seconds, RATE_LIMIT=None, **settings)

    return use


def warnings_of(caplog):
    return [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("rule", ["stuck", "stuck_async", "stubborn"])
async def test_a_rule_that_does_not_answer_in_time_means_no_and_is_told_once(
    use, user, caplog, rule
):
    use(rule)
    async with Connection(user=user) as connection:
        for _ in range(3):
            refusal = await connection.ask("subscribe", {"room": rule}, id="a")
            assert_refusal(refusal, "FORBIDDEN", id="a", room=rule)
        release.set()
        assert (await connection.ask("message", {"room": rule, "content": 1}))["payload"][
            "code"
        ] == "NOT_IN_ROOM"
    assert asked == [rule] * 3
    (record,) = warnings_of(caplog)
    assert record.name == "pm_realtime.room"
    assert f"tests.rooms.test_authorize.{rule}" in record.message
    assert record.exc_info is None


async def test_in_time_is_in_time(use, user):
    use("fine", seconds=20)
    async with Connection(user=user) as connection:
        await connection.subscribe("fine")


async def test_a_stuck_rule_denies_its_own_rooms_only_and_recovers(use, user, monkeypatch):
    monkeypatch.setattr(authorize, "PLACES", 2)
    use("stuck", "fine", seconds=0.3)
    async with Connection(user=user) as one, Connection(user=user) as other:
        for connection in (one, other, one):
            refusal = await connection.ask("subscribe", {"room": "stuck"})
            assert refusal["payload"]["code"] == "FORBIDDEN"
        assert len(asked) == 2
        await other.subscribe("fine")
        release.set()
        while (await one.ask("subscribe", {"room": "stuck"}))["type"] == "error":
            pass
    assert len(asked) == 3


@pytest.mark.parametrize("rule", ["stuck", "stuck_async"])
async def test_a_client_that_goes_is_not_waited_for(use, user, rule, monkeypatch):
    monkeypatch.setattr(authorize, "PLACES", 1)
    use(rule, seconds=20)
    async with Connection(user=user) as connection:
        await connection.command("subscribe", {"room": rule})
        await eventually(lambda: asked)
        connection.future.cancel()
    release.set()


@pytest.mark.parametrize("rule", ["broken", "broken_async", "late", "cancelled", "missing"])
async def test_a_rule_that_fails_denies_without_inside_detail_and_is_logged_once(
    use, user, caplog, rule
):
    use(rule, seconds=20)
    async with Connection(user=user) as connection:
        for number in range(3):
            refusal = await connection.ask("subscribe", {"room": rule}, id=str(number))
            assert_refusal(refusal, "INTERNAL_ERROR", id=str(number), room=rule)
            assert DETAIL not in str(refusal)
            assert "test_rules" not in str(refusal)
        assert await connection.is_alive()
    (record,) = errors_of(caplog)
    assert record.name == "pm_realtime.room"
    assert f"tests.rooms.test_authorize.{rule}" in record.message
    assert record.exc_info


@pytest.mark.parametrize("change", [broken, stuck, lambda user, room: False])
async def test_who_cannot_be_decided_about_any_more_leaves(use, user, change):
    global may_stay
    use("changes")
    async with Connection(user=user) as connection:
        await connection.subscribe("changes")
        may_stay = change
        await arefresh_room("changes")
        left = await connection.assert_push("unsubscribed")
        assert left["payload"] == {"room": "changes", "success": True, "reason": "forbidden"}
