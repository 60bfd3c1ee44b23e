"""Pushes from server code: the connections that they reach and their arguments."""

import asyncio
import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import transaction

import pm_realtime
from pm_realtime.backends import get_streams
from pm_realtime.exceptions import OutageError, PayloadError
from pm_realtime.layer import (
    authenticated_group,
    connection_group,
    role_group,
    room_group,
    user_group,
)
from pm_realtime.layer.sending import forget as forget_refusals
from pm_realtime.protocol import Envelope
from tests.contracts.streams import LONG_AGO
from tests.site.models import Note
from tests.support.helpers import Connection, assert_envelope

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def reached_by(crowd, type):
    """The names of the connections that got one push of ``type``, and no other push."""
    got = {name: await connection.types_so_far() for name, connection in crowd.items()}
    assert all(types in ([], [type]) for types in got.values()), got
    return {name for name, types in got.items() if types}


@pytest.mark.parametrize("as_given", [lambda u: u, lambda u: u.pk, lambda u: str(u.pk)])
async def test_push_to_a_user_reaches_all_connections_of_the_user(helpers, crowd, users, as_given):
    await helpers.send_to_user(as_given(users["user"]), "hello")
    assert await reached_by(crowd, "hello") == {"user", "user 2"}


@pytest.mark.parametrize(
    ("role", "reached"),
    [
        ("user", {"user", "user 2", "editor", "admin", "master"}),
        ("editor", {"editor", "admin", "master"}),
        ("admin", {"admin", "master"}),
        ("master", {"master"}),
    ],
)
async def test_push_to_a_role_reaches_it_and_every_higher_one(helpers, crowd, role, reached):
    await helpers.send_to_role(role, "hello")
    assert await reached_by(crowd, "hello") == reached


async def test_broadcast_reaches_every_authenticated_connection(helpers, crowd):
    await helpers.broadcast("hello")
    assert await reached_by(crowd, "hello") == set(crowd) - {"anonymous"}


async def test_push_to_a_connection_reaches_that_one(helpers, crowd):
    for name, connection in crowd.items():
        await helpers.send_to_connection(connection.connection_id, "hello")
        assert await reached_by(crowd, "hello") == {name}


async def test_push_to_a_room_reaches_its_subscribers(helpers, crowd):
    for name in ("user 2", "admin"):
        await crowd[name].subscribe("lobby")
    await helpers.send_to_room("lobby", "hello")
    assert await reached_by(crowd, "hello") == {"user 2", "admin"}


async def test_exclude_leaves_one_connection_out(helpers, crowd, users):
    excluded = crowd["user"].connection_id
    for name in ("user", "editor"):
        await crowd[name].subscribe("lobby")
    everyone = set(crowd) - {"anonymous", "user"}
    await helpers.send_to_user(users["user"], "one", exclude=excluded)
    assert await reached_by(crowd, "one") == {"user 2"}
    await helpers.send_to_room("lobby", "two", exclude=excluded)
    assert await reached_by(crowd, "two") == {"editor"}
    await helpers.send_to_role("user", "three", exclude=excluded)
    assert await reached_by(crowd, "three") == everyone
    await helpers.broadcast("four", exclude=excluded)
    assert await reached_by(crowd, "four") == everyone


@pytest.mark.parametrize(
    ("name", "target", "more"),
    [
        ("send_to_user", "user", {"to": "user"}),
        ("send_to_role", "role", {"to": "role:user"}),
        ("broadcast", None, {"to": "all"}),
        ("send_to_connection", "connection", {}),
        ("send_to_room", "room", {"room": "lobby"}),
    ],
)
async def test_helper_returns_the_envelope_that_arrives(helpers, user, name, target, more):
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        targets = {
            "user": user,
            "role": "user",
            "connection": connection.connection_id,
            "room": "lobby",
        }
        to = [] if target is None else [targets[target]]
        payload = {"at": uuid.UUID(int=7), "list": [1, None, "é"]}
        sent = await getattr(helpers, name)(*to, "note", payload, id="mine")
        (received,) = await connection.so_far()
        assert_envelope(
            received,
            type="note",
            payload={"at": str(uuid.UUID(int=7)), "list": [1, None, "é"]},
            id="mine",
            **more,
        )
        assert isinstance(sent, Envelope)
        assert (sent.type, sent.payload, sent.id) == ("note", payload, "mine")
        assert sent.timestamp == received["timestamp"]
        assert (sent.room, sent.to) == (more.get("room"), more.get("to"))


async def test_push_without_payload_and_id_has_neither(helpers, user):
    async with Connection(user=user) as connection:
        await helpers.send_to_user(user, "bare")
        (received,) = await connection.so_far()
        assert_envelope(received, type="bare", to="user")


async def test_push_without_recipients_is_not_an_error(helpers, user):
    async with Connection() as connection:
        await helpers.send_to_user(user, "hello")
        await helpers.send_to_room("empty", "hello")
        await helpers.send_to_connection("no such connection", "hello")
        await helpers.disconnect_connection("no such connection")
        await helpers.subscribe("no such connection", "lobby")
        assert await connection.so_far() == []


# Threads


async def by_to_thread(send_many, senders):
    await asyncio.gather(*(asyncio.to_thread(send_many, sender) for sender in senders))


async def by_sync_to_async(send_many, senders):
    for sender in senders:
        await sync_to_async(send_many)(sender)


async def by_thread_pool(send_many, senders):
    def pool():
        with ThreadPoolExecutor(len(senders)) as executor:
            list(executor.map(send_many, senders))

    await asyncio.to_thread(pool)


@pytest.mark.parametrize("run", [by_to_thread, by_sync_to_async, by_thread_pool])
async def test_pushes_of_each_thread_arrive_in_order(configure, run):
    configure(DEFAULT_ROOM={"public": True})
    senders = ["a", "b", "c", "d"]

    def send_many(sender):
        for number in range(100):
            pm_realtime.send_to_room("lobby", "tick", [sender, number])

    async with Connection() as one, Connection() as other:
        await one.subscribe("lobby")
        await other.subscribe("lobby")
        await run(send_many, senders)
        received = [frame["payload"] for frame in await one.so_far()]
        for sender in senders:
            theirs = [number for name, number in received if name == sender]
            assert theirs == list(range(100))
        assert [frame["payload"] for frame in await other.so_far()] == received


# Arguments


def saved_and_deleted():
    user = get_user_model().objects.create_user("short-lived")
    user.delete()
    return user


@pytest.mark.parametrize(
    "make_bad",
    [
        lambda: get_user_model()(username="unsaved"),
        saved_and_deleted,
        AnonymousUser,
        lambda: None,
        lambda: "not a uuid",
        lambda: "",
        object,
        lambda: [],
    ],
)
async def test_invalid_user_is_a_value_error(helpers, transactional_db, make_bad):
    bad = await sync_to_async(make_bad)()
    calls = [
        lambda: helpers.send_to_user(bad, "hello"),
        lambda: helpers.disconnect_user(bad),
        lambda: helpers.get_user_connections(bad),
        lambda: helpers.is_online(bad),
    ]
    async with Connection():
        for call in calls:
            with pytest.raises(ValueError, match="expected a saved user or a primary key"):
                await call()


@pytest.mark.parametrize("role", ["emperor", "", None, "User", 1])
async def test_unknown_role_is_a_value_error_that_names_the_known_ones(helpers, role):
    async with Connection():
        with pytest.raises(ValueError, match="user, editor, admin, master"):
            await helpers.send_to_role(role, "hello")


@pytest.mark.parametrize("room", ["", "x" * 201, "a\nb", "\x00", "\ud800", None, 7, b"lobby"])
async def test_invalid_room_is_a_value_error(helpers, room):
    async with Connection() as connection:
        for call in (
            lambda: helpers.send_to_room(room, "hello"),
            lambda: helpers.subscribe(connection.connection_id, room),
            lambda: helpers.unsubscribe(connection.connection_id, room),
        ):
            with pytest.raises(ValueError, match="Expected the name of a room"):
                await call()


@pytest.mark.parametrize("connection_id", ["", None, 7])
async def test_invalid_connection_id_is_a_value_error(helpers, connection_id):
    async with Connection():
        with pytest.raises(ValueError, match="expected the id of a connection"):
            await helpers.send_to_connection(connection_id, "hello")


@pytest.mark.parametrize(
    ("type", "id"), [("", None), (None, None), (7, None), ("hello", 7), ("hello", b"7")]
)
async def test_invalid_type_or_id_is_a_value_error(helpers, user, type, id):
    async with Connection(user=user) as connection:
        with pytest.raises(ValueError, match="must be a"):
            await helpers.send_to_user(user, type, id=id)
        assert await connection.so_far() == []


def circle():
    found = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "payload", [object(), {"a": object()}, {1.5: {}, (1, 2): 3}, "\ud800", {"\udfff": 1}, circle()]
)
async def test_payload_that_is_not_json_is_a_payload_error(helpers, user, payload):
    async with Connection(user=user) as connection:
        for call in (
            lambda: helpers.send_to_user(user, "hello", payload),
            lambda: helpers.broadcast("hello", payload, on_commit=False),
            lambda: helpers.send_to_connection(connection.connection_id, "hello", payload),
        ):
            with pytest.raises(PayloadError, match="'hello' cannot be written as JSON"):
                await call()
        assert await connection.so_far() == []


def test_object_of_another_model_is_not_a_user(transactional_db):
    note = Note.objects.create(text="not a user")
    with pytest.raises(ValueError, match="expected a user or a primary key, got a Note"):
        pm_realtime.send_to_user(note, "secret")


def test_exclude_must_be_the_id_of_a_connection(transactional_db):
    with pytest.raises(ValueError, match="the id of a connection as text, got 5"):
        pm_realtime.send_to_room("a", "hello", exclude=5)


@pytest.mark.parametrize("id", ["\ud800", 0, False, b"c", [], 5.0])
async def test_value_that_no_layer_could_send_is_no_id_of_a_connection(id):
    for call in (
        lambda: pm_realtime.abroadcast("hello", exclude=id),
        lambda: pm_realtime.asend_to_connection(id, "hello", fail_silently=True),
        lambda: pm_realtime.adisconnect_connection(id, fail_silently=True),
    ):
        with pytest.raises(ValueError, match="the id of a connection as text"):
            await call()


async def test_empty_exclude_excludes_nobody(user):
    async with Connection(user=user) as connection:
        await pm_realtime.abroadcast("hello", exclude="")
        await connection.assert_push("hello")


# Streams


@pytest.fixture
def stream_of(memory_layer):
    """Reads the stream of a group: the types and the excluded connections."""

    async def read(group):
        page = await get_streams().read(group, LONG_AGO, 60)
        found = page.publications
        return [json.loads(each.text)["type"] for each in found], [e.exclude for e in found]

    return read


async def test_pushes_are_kept_in_the_stream_of_their_target(helpers, user, stream_of):
    async with Connection(user=user) as connection:
        await helpers.send_to_user(user, "a", exclude="me")
        await helpers.send_to_room("lobby", "b")
        await helpers.send_to_role("editor", "c")
        await helpers.broadcast("d", exclude="")
        await helpers.send_to_connection(connection.connection_id, "e")
    assert await stream_of(user_group(str(user.pk))) == (["a"], ["me"])
    assert await stream_of(room_group("lobby")) == (["b"], [None])
    assert await stream_of(role_group("editor")) == (["c"], [None])
    assert await stream_of(authenticated_group()) == (["d"], [None])
    assert await stream_of(connection_group(connection.connection_id)) == ([], [])


async def test_room_keeps_as_much_as_its_options_say(helpers, configure, stream_of):
    configure(ROOMS={"two": {"history": 2}, "log:<int:pk>": {"history": 3}, "none": {"history": 0}})
    async with Connection():
        for room in ("two", "log:1", "none", "other"):
            for type in "abcd":
                await helpers.send_to_room(room, type)
    kept = [await stream_of(room_group(room)) for room in ("two", "log:1", "none", "other")]
    assert ["".join(types) for types, _ in kept] == ["cd", "bcd", "", "abcd"]


async def test_nothing_is_kept_without_a_recovery_period(helpers, configure, user, stream_of):
    configure(RECOVERY_PERIOD=0)
    async with Connection(user=user) as connection:
        await helpers.send_to_user(user, "a")
        assert await connection.types_so_far() == ["a"]
    assert await stream_of(user_group(str(user.pk))) == ([], [])


# Idempotency keys


async def test_push_under_a_repeated_key_arrives_once(helpers, user):
    targets = [("send_to_user", user), ("send_to_room", "lobby"), ("send_to_role", "user")]
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        for name, *target in (*targets, ("broadcast",)):
            push = getattr(helpers, name)
            for payload in (1, 2):
                sent = await push(*target, "paid", payload, idempotency_key="order 7")
                assert (sent.type, sent.payload) == ("paid", payload)
            await push(*target, "paid", 3, idempotency_key="order 8")
            await push(*target, "paid", 4)
        received = [envelope["payload"] for envelope in await connection.so_far()]
        assert received == [1, 3, 4] * 4


async def test_key_belongs_to_its_target(helpers, configure):
    configure(DEFAULT_ROOM={"public": True}, ROOMS={"b": {"public": True, "history": 0}})
    async with Connection() as connection:
        for room in "ab":
            await connection.subscribe(room)
        for room in "abab":
            await helpers.send_to_room(room, "hello", idempotency_key="k")
        assert [envelope["room"] for envelope in await connection.so_far()] == ["a", "b"]


async def test_key_is_forgotten_after_the_period(helpers, user, configure):
    configure(IDEMPOTENCY_PERIOD=0.001)
    async with Connection(user=user) as connection:
        for _ in range(2):
            await helpers.send_to_user(user, "hello", idempotency_key="k")
            await asyncio.sleep(0.01)
        assert await connection.types_so_far() == ["hello", "hello"]


async def test_push_under_a_key_waits_for_the_commit(user):
    def buy(*, fails):
        with transaction.atomic():
            for _ in range(2):
                pm_realtime.send_to_user(user, "paid", idempotency_key="k")
            transaction.set_rollback(fails)

    async with Connection(user=user) as connection:
        await sync_to_async(buy)(fails=True)
        assert await connection.so_far() == []
        await sync_to_async(buy)(fails=False)
        await sync_to_async(buy)(fails=False)
        assert await connection.types_so_far() == ["paid"]


async def test_push_that_raised_is_sent_when_it_is_repeated_under_its_key(helpers, far):
    far.is_away = True
    with pytest.raises(OutageError):
        await helpers.broadcast("hello", idempotency_key="k")
    await helpers.broadcast("hello", idempotency_key="k", fail_silently=True)
    far.is_away = False
    forget_refusals()
    for _ in range(2):
        await helpers.broadcast("hello", idempotency_key="k")
    assert len(far.sent) == 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("key", ["k" * 200, "é" * 200, "a b\n", "\x00", Text("k")])
async def test_texts_are_keys(helpers, user, key):
    async with Connection(user=user) as connection:
        for _ in range(2):
            await helpers.send_to_user(user, "hello", idempotency_key=key)
        assert await connection.types_so_far() == ["hello"]


@pytest.mark.parametrize("key", ["", "k" * 201, "\ud800", 7, True, b"k", ["k"], uuid.UUID(int=7)])
async def test_invalid_key_is_a_value_error(helpers, user, key):
    async with Connection(user=user) as connection:
        for call in (
            lambda: helpers.send_to_user(user, "hello", idempotency_key=key),
            lambda: helpers.send_to_room("lobby", "hello", idempotency_key=key),
            lambda: helpers.broadcast("hello", idempotency_key=key, fail_silently=True),
        ):
            with pytest.raises(ValueError, match="expected an idempotency_key of 1 to 200 char"):
                await call()
        assert await connection.so_far() == []
