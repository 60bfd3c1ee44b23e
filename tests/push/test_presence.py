"""Presence for server code: questions about members, and their states."""

import asyncio
import time
from datetime import date

import pytest
from django.contrib.auth.models import AnonymousUser

from pm_realtime import Presence, PresenceMember, aget_presence, aset_presence
from tests.support.helpers import Connection

pytestmark = pytest.mark.usefixtures("leaves_nothing", "rooms")


@pytest.fixture
def rooms(configure):
    configure(
        ROOMS={
            "hall": {"public": True, "presence": True},
            "pages": {"public": True, "presence": {"per": "connection"}},
            "lobby": {"public": True},
        }
    )


@pytest.fixture
async def sockets(leaves_nothing):
    """This process serves some, so that helpers warn of nothing."""
    async with Connection():
        yield


async def members_of(room):
    return (await aget_presence(room)).members


async def states_of(room, pk):
    """The states of the members of a user in the order of their texts."""
    user_id = None if pk is None else str(pk)
    found = [each.state for each in await members_of(room) if each.user_id == user_id]
    return sorted(found, key=lambda state: state["n"] if state else 0)


# --- questions


async def test_members_are_those_in_the_room(helpers, user, editor):
    before = time.time()
    async with Connection(user=user) as one, Connection(user=user) as two:
        assert await helpers.get_presence("hall") == Presence(0, [])
        await one.subscribe("hall")
        await two.subscribe("hall")
        async with Connection(user=editor) as three, Connection() as anonymous:
            await three.subscribe("hall")
            await anonymous.subscribe("hall")
            presence = await helpers.get_presence("hall")
            first, second = sorted(presence.members, key=lambda each: -each.connections)
            assert presence.total == 2
            assert first == PresenceMember(
                key=str(user.pk),
                user_id=str(user.pk),
                info=first.info,
                since=first.since,
                connections=2,
                state=None,
            )
            assert first.info == {"name": user.get_full_name()}
            assert before - 0.1 < first.since <= second.since < before + 60
            assert (second.user_id, second.connections) == (str(editor.pk), 1)
        assert [each.user_id for each in await members_of("hall")] == [str(user.pk)]


async def test_members_of_a_room_of_connections(helpers, user):
    async with Connection(user=user) as one, Connection(user=user) as two, Connection() as three:
        for connection in (one, two, three):
            await connection.subscribe("pages")
        members = (await helpers.get_presence("pages")).members
        assert sorted([each.user_id or "" for each in members]) == ["", str(user.pk), str(user.pk)]
        assert [each.info for each in members if each.user_id is None] == [{}]
        assert len({each.key for each in members}) == 3


async def test_all_members_are_returned_whatever_the_room_says(helpers, user, configure):
    configure(ROOMS={"hall": {"public": True, "presence": {"max": 0, "see": "admin"}}})
    async with Connection(user=user) as connection:
        await connection.subscribe("hall")
        assert [each.key for each in (await helpers.get_presence("hall")).members] == [str(user.pk)]


@pytest.mark.parametrize("room", ["hall", "pages"])
async def test_user_is_present_while_in_the_room(helpers, user, editor, room):
    async with Connection(user=user) as connection:
        assert await helpers.is_present(user, room) is False
        await connection.subscribe(room)
        for given in (user, user.pk, str(user.pk)):
            assert await helpers.is_present(given, room) is True
        assert await helpers.is_present(editor, room) is False
        await connection.ask("unsubscribe", {"room": room})
        assert await helpers.is_present(user, room) is False


# --- states


async def test_state_of_a_user_is_told_to_all(helpers, user, editor):
    async with Connection(user=user) as connection, Connection(user=editor) as viewer:
        await connection.subscribe("hall")
        await viewer.subscribe("hall")
        for given, state in ((user, {"n": 1}), (str(user.pk), {"n": 2})):
            await helpers.set_presence(given, "hall", state)
            expected = [{"userId": str(user.pk), "state": state}, {"userId": str(editor.pk)}]
            await viewer.assert_presence("hall", members=expected)
        await helpers.set_presence(user, "hall", None)
        assert [each.state for each in await members_of("hall")] == [None, None]


async def test_state_of_a_connection(helpers, user):
    async with Connection(user=user) as one, Connection(user=user) as two, Connection() as three:
        for connection in (one, two, three):
            await connection.subscribe("pages")
        await helpers.set_presence(two.connection_id, "pages", {"n": 1})
        await helpers.set_presence(three.connection_id, "pages", {"n": 2})
        assert await states_of("pages", user.pk) == [None, {"n": 1}]
        assert await states_of("pages", None) == [{"n": 2}]
        await helpers.set_presence(user, "pages", {"n": 3})
        assert await states_of("pages", user.pk) == [{"n": 3}, {"n": 3}]
        assert await states_of("pages", None) == [{"n": 2}]


async def test_state_becomes_none_after_its_time(user):
    async with Connection(user=user) as connection:
        await connection.subscribe("hall")
        await aset_presence(user, "hall", {"typing": True}, ttl=0.3)
        assert [each.state for each in await members_of("hall")] == [{"typing": True}]
        async with asyncio.timeout(5):
            while (await members_of("hall"))[0].state is not None:
                await asyncio.sleep(0.05)


async def test_state_may_hold_what_json_can(helpers, user):
    async with Connection(user=user) as connection:
        await connection.subscribe("hall")
        await helpers.set_presence(connection.connection_id, "hall", {1: date(2026, 12, 1)})
        assert (await members_of("hall"))[0].state == {"1": "2026-12-01"}
        await helpers.set_presence(user, "hall", {"é": "x" * (1024 - len('{"é":""}'.encode()))})
        assert len((await members_of("hall"))[0].state["é"]) == 1015


@pytest.mark.parametrize("target", ["no connection", 99_999, "99999"])
async def test_state_of_who_is_not_there_is_nothing(helpers, user, target):
    async with Connection(user=user) as connection:
        await connection.subscribe("hall")
        await helpers.set_presence(target, "hall", {"n": 1})
        assert [each.state for each in await members_of("hall")] == [None]


@pytest.mark.parametrize(
    ("state", "ttl", "error"),
    [
        ([1], None, r"a dict, or None, got \[1\]"),
        ("text", None, "a dict, or None, got 'text'"),
        ({"x": object()}, None, "JSON can hold: it holds an object of the type object"),
        ({"x": "y" * 1024}, None, "1024 bytes of JSON, got 1032"),
        ({}, 0, "at most 86400 seconds, or None, got 0"),
        ({}, True, "got True"),
        ({}, "5", "got '5'"),
        ({}, 86_401, "got 86401"),
        ({}, float("nan"), "got nan"),
    ],
)
async def test_invalid_state_is_an_error(helpers, user, state, ttl, error):
    async with Connection(user=user) as connection:
        await connection.subscribe("hall")
        with pytest.raises(ValueError, match=error):
            await helpers.set_presence(user, "hall", state, ttl=ttl)
        assert [each.state for each in await members_of("hall")] == [None]


@pytest.mark.parametrize(
    ("room", "error"),
    [("lobby", "a room with presence, got 'lobby'"), ("x" * 300, "1 to 200"), (7, "Got 7")],
)
@pytest.mark.usefixtures("sockets")
async def test_room_without_presence_is_an_error(helpers, user, room, error):
    for call in (
        helpers.get_presence(room),
        helpers.is_present(user, room),
        helpers.set_presence(user, room, {}),
    ):
        with pytest.raises(ValueError, match=error):
            await call


@pytest.mark.usefixtures("sockets")
async def test_target_that_is_no_user_is_an_error(helpers, db):
    for target in (AnonymousUser(), None, ["7"], b"7"):
        with pytest.raises(ValueError, match="expected a saved user or a primary key"):
            await helpers.set_presence(target, "hall", {})
        with pytest.raises(ValueError, match="expected a saved user or a primary key"):
            await helpers.is_present(target, "hall")
    with pytest.raises(ValueError, match="expected the id of a connection"):
        await helpers.set_presence("", "hall", {})


async def test_state_is_set_while_the_layer_is_away(helpers, far, user):
    async with Connection(user=user) as connection:
        await connection.subscribe("hall")
        far.is_away = True
        await helpers.set_presence(user, "hall", {"n": 1})
        assert [each.state for each in await members_of("hall")] == [{"n": 1}]
        far.is_away = False
