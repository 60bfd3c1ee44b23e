"""Pushes from server code: whom they reach, when, and in which order."""

import asyncio
import functools
import inspect
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

import pm_realtime
from pm_realtime import aget_stats, asend_to_user
from pm_realtime.exceptions import PayloadError
from pm_realtime.protocol import Envelope
from pm_realtime.testing import capture_pushes
from tests.site.models import Note
from tests.support.helpers import Connection, assert_envelope

pytestmark = pytest.mark.usefixtures("leaves_nothing")

HELPERS = [
    "send_to_user",
    "send_to_room",
    "send_to_role",
    "broadcast",
    "send_to_connection",
    "disconnect_user",
    "disconnect_connection",
    "refresh_user",
    "refresh_room",
    "subscribe",
    "unsubscribe",
    "get_connection",
    "get_user_connections",
    "is_online",
    "get_stats",
]


class Helpers:
    """Every helper under its name, the sync ones called in a thread and the twins in the loop."""

    def __init__(self, twin):
        self.twin = twin

    def __getattr__(self, name):
        if self.twin == "async":
            return getattr(pm_realtime, f"a{name}")
        return functools.partial(asyncio.to_thread, getattr(pm_realtime, name))


@pytest.fixture(params=["sync", "async"])
def helpers(request):
    return Helpers(request.param)


@pytest.fixture
async def crowd(users):
    """A connection of each role, two of ``user``, and an anonymous one."""
    async with AsyncExitStack() as stack:
        found = {
            role: await stack.enter_async_context(Connection(user=user))
            for role, user in users.items()
        }
        found["user 2"] = await stack.enter_async_context(Connection(user=users["user"]))
        found["anonymous"] = await stack.enter_async_context(Connection())
        yield found


async def who_got(crowd, type):
    """The names of those whom exactly one push of ``type`` reached, and nothing else."""
    got = {name: await connection.types_so_far() for name, connection in crowd.items()}
    assert all(types in ([], [type]) for types in got.values()), got
    return {name for name, types in got.items() if types}


# Whom a push reaches


@pytest.mark.parametrize("as_given", [lambda u: u, lambda u: u.pk, lambda u: str(u.pk)])
async def test_a_push_to_a_user_reaches_all_connections_of_that_user(
    helpers, crowd, users, as_given
):
    await helpers.send_to_user(as_given(users["user"]), "hello")
    assert await who_got(crowd, "hello") == {"user", "user 2"}


@pytest.mark.parametrize(
    ("role", "reached"),
    [
        ("user", {"user", "user 2", "editor", "admin", "master"}),
        ("editor", {"editor", "admin", "master"}),
        ("admin", {"admin", "master"}),
        ("master", {"master"}),
    ],
)
async def test_a_push_to_a_role_reaches_it_and_every_higher_one(helpers, crowd, role, reached):
    await helpers.send_to_role(role, "hello")
    assert await who_got(crowd, "hello") == reached


async def test_a_broadcast_reaches_every_authenticated_connection(helpers, crowd):
    await helpers.broadcast("hello")
    assert await who_got(crowd, "hello") == set(crowd) - {"anonymous"}


async def test_a_push_to_a_connection_reaches_that_one(helpers, crowd):
    for name, connection in crowd.items():
        await helpers.send_to_connection(connection.connection_id, "hello")
        assert await who_got(crowd, "hello") == {name}


async def test_a_push_to_a_room_reaches_its_subscribers(helpers, crowd):
    for name in ("user 2", "admin"):
        await crowd[name].subscribe("lobby")
    await helpers.send_to_room("lobby", "hello")
    assert await who_got(crowd, "hello") == {"user 2", "admin"}


async def test_exclude_leaves_one_connection_out(helpers, crowd, users):
    excluded = crowd["user"].connection_id
    for name in ("user", "editor"):
        await crowd[name].subscribe("lobby")
    everyone = set(crowd) - {"anonymous", "user"}
    await helpers.send_to_user(users["user"], "one", exclude=excluded)
    assert await who_got(crowd, "one") == {"user 2"}
    await helpers.send_to_room("lobby", "two", exclude=excluded)
    assert await who_got(crowd, "two") == {"editor"}
    await helpers.send_to_role("user", "three", exclude=excluded)
    assert await who_got(crowd, "three") == everyone
    await helpers.broadcast("four", exclude=excluded)
    assert await who_got(crowd, "four") == everyone


@pytest.mark.parametrize(
    ("name", "target", "more"),
    [
        ("send_to_user", "user", {}),
        ("send_to_role", "role", {}),
        ("broadcast", None, {}),
        ("send_to_connection", "connection", {}),
        ("send_to_room", "room", {"room": "lobby"}),
    ],
)
async def test_a_push_is_the_envelope_that_the_helper_returns(helpers, user, name, target, more):
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
        assert (sent.timestamp, sent.room) == (received["timestamp"], more.get("room"))


async def test_a_push_without_payload_and_id_has_neither(helpers, user):
    async with Connection(user=user) as connection:
        await helpers.send_to_user(user, "bare")
        (received,) = await connection.so_far()
        assert_envelope(received, type="bare")


async def test_a_push_to_nobody_is_no_error(helpers, user):
    async with Connection() as connection:
        await helpers.send_to_user(user, "hello")
        await helpers.send_to_room("empty", "hello")
        await helpers.send_to_connection("no such connection", "hello")
        await helpers.disconnect_connection("no such connection")
        await helpers.subscribe("no such connection", "lobby")
        assert await connection.so_far() == []


# Transactions


async def in_thread(function):
    """Run sync code that uses the database as a view would."""
    return await sync_to_async(function)()


@pytest.fixture
async def listener(user):
    async with Connection(user=user) as connection:
        yield connection


def push(user, name, **options):
    Note.objects.create(text=name)
    pm_realtime.send_to_user(user, name, **options)


async def test_a_push_waits_for_the_commit(listener, user):
    loop = asyncio.get_running_loop()

    async def what_came():
        return await listener.types_so_far()

    def code():
        with transaction.atomic():
            push(user, "saved")
            inside = asyncio.run_coroutine_threadsafe(what_came(), loop).result()
        return inside

    assert await in_thread(code) == []
    assert await listener.types_so_far() == ["saved"]


async def test_a_push_of_a_transaction_rolled_back_reaches_nobody(listener, user):
    def code():
        with suppress(LookupError), transaction.atomic():
            push(user, "lost")
            raise LookupError

    await in_thread(code)
    assert await listener.so_far() == []
    assert await Note.objects.acount() == 0


async def test_a_push_of_a_savepoint_rolled_back_reaches_nobody_and_the_others_come(listener, user):
    def code():
        with transaction.atomic():
            push(user, "before")
            with suppress(LookupError), transaction.atomic():
                push(user, "lost")
                raise LookupError
            with transaction.atomic():
                push(user, "inner")
            push(user, "after")

    await in_thread(code)
    assert await listener.types_so_far() == ["before", "inner", "after"]


async def test_on_commit_false_sends_at_once_and_whatever_becomes_of_the_transaction(
    listener, user
):
    def code():
        with suppress(LookupError), transaction.atomic():
            push(user, "later")
            push(user, "at once", on_commit=False)
            raise LookupError

    await in_thread(code)
    assert await listener.types_so_far() == ["at once"]


async def test_the_order_of_the_calls_is_the_order_of_the_pushes(listener, user):
    def code():
        pm_realtime.send_to_user(user, "0")
        with transaction.atomic():
            for number in range(1, 50):
                pm_realtime.send_to_user(user, str(number))
        pm_realtime.send_to_user(user, "50")

    await in_thread(code)
    assert await listener.types_so_far() == [str(number) for number in range(51)]


@pytest.mark.parametrize(
    "name", ["send_to_room", "send_to_role", "broadcast", "send_to_connection"]
)
async def test_every_push_waits_for_the_commit(listener, name):
    await listener.subscribe("lobby")
    targets = {
        "send_to_room": ["lobby"],
        "send_to_role": ["user"],
        "broadcast": [],
        "send_to_connection": [listener.connection_id],
    }

    def code():
        with suppress(LookupError), transaction.atomic():
            getattr(pm_realtime, name)(*targets[name], "lost")
            raise LookupError
        with transaction.atomic():
            getattr(pm_realtime, name)(*targets[name], "saved")

    await in_thread(code)
    assert await listener.types_so_far() == ["saved"]


# Threads


@pytest.mark.parametrize("name", HELPERS)
async def test_a_sync_helper_refuses_inside_a_running_loop_naming_its_twin(name):
    async with Connection() as connection:
        function = getattr(pm_realtime, name)
        arguments = {
            "user": uuid.uuid4(),
            "room": "lobby",
            "role": "user",
            "connection_id": connection.connection_id,
            "type": "hello",
        }
        wanted = inspect.signature(function).parameters
        with pytest.raises(SynchronousOnlyOperation, match=rf"await a{name}\("):
            function(**{key: value for key, value in arguments.items() if key in wanted})
        assert await connection.so_far() == []


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
async def test_what_threads_push_reaches_every_socket_in_order(configure, run):
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


# Disconnecting


async def test_disconnect_user_ends_every_connection_of_the_user(helpers, crowd, users):
    await helpers.disconnect_user(users["user"])
    for name in ("user", "user 2"):
        await crowd[name].assert_closed(4503)
        await crowd[name].assert_ended()
    assert all([await crowd[name].is_alive() for name in ("editor", "master", "anonymous")])


async def test_disconnect_connection_ends_one(helpers, crowd):
    await helpers.disconnect_connection(crowd["user"].connection_id)
    await crowd["user"].assert_closed(4503)
    assert await crowd["user 2"].is_alive()


@pytest.mark.parametrize("code", [1000, 3000, 4012, 4504, 4999])
async def test_code_and_reason_of_a_disconnect_are_ours_to_choose(helpers, code):
    async with Connection() as connection:
        await helpers.disconnect_connection(connection.connection_id, code=code, reason="so long")
        closing = await connection.receive_output()
        assert closing == {"type": "websocket.close", "code": code, "reason": "so long"}


@pytest.mark.parametrize("code", [0, 999, 1001, 1005, 1006, 2999, 5000, -1, "4503", 4503.5, None])
async def test_a_code_that_cannot_be_sent_is_a_value_error(helpers, code):
    async with Connection() as connection:
        with pytest.raises(ValueError, match="expected a close code"):
            await helpers.disconnect_connection(connection.connection_id, code=code)
        with pytest.raises(ValueError, match="expected a close code"):
            await helpers.disconnect_user(uuid.uuid4(), code=code)
        assert await connection.is_alive()


async def test_what_was_pushed_before_a_disconnect_still_arrives(helpers, user):
    async with Connection(), Connection(user=user) as connection:
        for number in range(10):
            await helpers.send_to_user(user, "tick", number)
        await helpers.disconnect_user(user)
        await helpers.send_to_user(user, "too late")
        assert [(await connection.receive())["payload"] for _ in range(10)] == list(range(10))
        assert (await connection.receive_output())["type"] == "websocket.close"
        await connection.assert_ended()
        assert connection.output_queue.empty()


# Rooms, by the server


async def test_the_server_puts_a_connection_into_a_room_and_takes_it_out(helpers, user):
    async with Connection(user=user) as connection:
        await helpers.subscribe(connection.connection_id, "system:broadcast")
        joined = await connection.receive()
        expected = {"room": "system:broadcast", "success": True}
        assert_envelope(joined, type="subscribed", payload=expected)
        await helpers.send_to_room("system:broadcast", "hello")
        assert await connection.types_so_far() == ["hello"]
        await helpers.unsubscribe(connection.connection_id, "system:broadcast", reason="closed")
        left = await connection.receive()
        assert_envelope(left, type="unsubscribed", payload={**expected, "reason": "closed"})
        await helpers.send_to_room("system:broadcast", "hello")
        assert await connection.so_far() == []
        refusal = await connection.ask("message", {"room": "system:broadcast", "content": 1})
        assert refusal["payload"]["code"] == "NOT_IN_ROOM"


async def test_an_unsubscribe_without_a_reason_has_none(helpers, user):
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        await helpers.unsubscribe(connection.connection_id, "lobby")
        left = await connection.receive()
        assert_envelope(left, type="unsubscribed", payload={"room": "lobby", "success": True})


async def test_what_the_server_asks_twice_is_done_and_told_once(helpers, user):
    async with Connection(user=user) as connection:
        for _ in range(2):
            await helpers.subscribe(connection.connection_id, "lobby")
        await connection.assert_push("subscribed")
        for _ in range(2):
            await helpers.unsubscribe(connection.connection_id, "lobby")
        await connection.assert_push("unsubscribed")
        assert await connection.so_far() == []


async def test_a_full_room_is_full_for_the_server_too(helpers, configure):
    configure(ROOMS={"one": {"public": True, "max_connections": 1}})
    async with Connection() as inside, Connection() as outside:
        await inside.subscribe("one")
        await helpers.subscribe(outside.connection_id, "one")
        await helpers.send_to_room("one", "hello")
        assert await inside.types_so_far() == ["hello"]
        assert await outside.so_far() == []
        assert (await aget_stats())["roomStats"] == {"one": 1}


# Arguments that cannot be


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
async def test_what_cannot_be_a_user_is_a_value_error(helpers, transactional_db, make_bad):
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
async def test_an_unknown_role_is_a_value_error_that_names_the_known_ones(helpers, role):
    async with Connection():
        with pytest.raises(ValueError, match="user, editor, admin, master"):
            await helpers.send_to_role(role, "hello")


@pytest.mark.parametrize("room", ["", "x" * 201, "a\nb", "\x00", "\ud800", None, 7, b"lobby"])
async def test_a_bad_room_is_a_value_error(helpers, room):
    async with Connection() as connection:
        for call in (
            lambda: helpers.send_to_room(room, "hello"),
            lambda: helpers.subscribe(connection.connection_id, room),
            lambda: helpers.unsubscribe(connection.connection_id, room),
        ):
            with pytest.raises(ValueError, match="Expected the name of a room"):
                await call()


@pytest.mark.parametrize("connection_id", ["", None, 7])
async def test_a_bad_connection_id_is_a_value_error(helpers, connection_id):
    async with Connection():
        with pytest.raises(ValueError, match="expected the id of a connection"):
            await helpers.send_to_connection(connection_id, "hello")


@pytest.mark.parametrize(
    ("type", "id"), [("", None), (None, None), (7, None), ("hello", 7), ("hello", b"7")]
)
async def test_a_bad_type_or_id_is_a_value_error(helpers, user, type, id):
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
async def test_a_payload_that_is_not_json_is_a_payload_error_and_nothing_is_sent(
    helpers, user, payload
):
    async with Connection(user=user) as connection:
        for call in (
            lambda: helpers.send_to_user(user, "hello", payload),
            lambda: helpers.broadcast("hello", payload, on_commit=False),
            lambda: helpers.send_to_connection(connection.connection_id, "hello", payload),
        ):
            with pytest.raises(PayloadError, match="'hello' push cannot be written as JSON"):
                await call()
        assert await connection.so_far() == []


# Questions


async def test_what_is_known_of_a_connection(helpers, user):
    async with Connection(user=user) as connection, Connection() as anonymous:
        await connection.subscribe("b")
        await connection.subscribe("a")
        info = await helpers.get_connection(connection.connection_id)
        assert (info.connection_id, info.user_id) == (connection.connection_id, str(user.pk))
        assert (info.role, info.rooms) == ("user", ("b", "a"))
        await connection.ask("unsubscribe", {"room": "b"})
        assert (await helpers.get_connection(connection.connection_id)).rooms == ("a",)
        nobody = await helpers.get_connection(anonymous.connection_id)
        assert (nobody.user_id, nobody.role, nobody.rooms) == (None, None, ())
        assert await helpers.get_connection("no such connection") is None
        await connection.disconnect()
        assert await helpers.get_connection(connection.connection_id) is None


async def test_the_connections_of_a_user_come_oldest_first(helpers, user, editor):
    async with Connection(user=editor), AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(Connection(user=user)) for _ in range(4)]
        for given in (user, user.pk, str(user.pk)):
            found = await helpers.get_user_connections(given)
            assert [info.connection_id for info in found] == [one.connection_id for one in opened]
        times = [info.connected_at for info in found]
        assert times == sorted(times)


async def test_a_user_is_online_while_a_connection_is_open(helpers, user, editor):
    async with Connection(user=editor):
        assert await helpers.is_online(user) is False
        async with Connection(user=user) as first:
            async with Connection(user=user):
                assert await helpers.is_online(user) is True
                await first.disconnect()
            await asend_to_user(user, "hello")
            assert await helpers.is_online(user.pk) is False


async def test_stats_count_connections_users_and_rooms(helpers, user):
    async with Connection(user=user) as one, Connection(user=user) as two, Connection():
        await one.subscribe("a")
        await one.subscribe("b")
        await two.subscribe("b")
        assert await helpers.get_stats() == {
            "totalConnections": 3,
            "authenticatedConnections": 2,
            "totalRooms": 2,
            "roomStats": {"a": 1, "b": 2},
        }
        await one.disconnect()
        assert (await helpers.get_stats())["roomStats"] == {"b": 1}


# The public names


def test_all_names_every_helper_and_its_twin():
    twins = [f"a{name}" for name in HELPERS]
    assert sorted(pm_realtime.__all__) == sorted(["__version__", *HELPERS, *twins])


@pytest.mark.parametrize("name", HELPERS)
def test_a_helper_and_its_twin_have_name_signature_and_docstring(name):
    helper, twin = getattr(pm_realtime, name), getattr(pm_realtime, f"a{name}")
    assert (helper.__name__, twin.__name__) == (name, f"a{name}")
    assert inspect.iscoroutinefunction(twin)
    assert not inspect.iscoroutinefunction(helper)
    assert inspect.signature(helper) == inspect.signature(twin)
    assert helper.__doc__
    assert helper.__doc__ == twin.__doc__


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("send_to_user", "(user, type, payload=None, *, id=None, exclude=None, on_commit=True)"),
        ("send_to_room", "(room, type, payload=None, *, id=None, exclude=None, on_commit=True)"),
        ("send_to_role", "(role, type, payload=None, *, id=None, exclude=None, on_commit=True)"),
        ("broadcast", "(type, payload=None, *, id=None, exclude=None, on_commit=True)"),
        ("send_to_connection", "(connection_id, type, payload=None, *, id=None, on_commit=True)"),
        ("disconnect_user", "(user, *, code=4503, reason='')"),
        ("disconnect_connection", "(connection_id, *, code=4503, reason='')"),
        ("subscribe", "(connection_id, room)"),
        ("unsubscribe", "(connection_id, room, *, reason=None)"),
        ("get_connection", "(connection_id)"),
        ("get_user_connections", "(user)"),
        ("is_online", "(user)"),
        ("get_stats", "()"),
    ],
)
def test_a_helper_takes_what_the_contract_says(name, signature):
    found = inspect.signature(getattr(pm_realtime, name))
    bare = [
        parameter.replace(
            annotation=parameter.empty,
            default=int(parameter.default)
            if name.startswith("dis") and parameter.name == "code"
            else parameter.default,
        )
        for parameter in found.parameters.values()
    ]
    assert str(found.replace(parameters=bare, return_annotation=found.empty)) == signature


@pytest.mark.parametrize("ends_well", [True, False])
async def test_an_async_twin_called_from_a_transaction_waits_for_its_end(
    transactional_db, ends_well
):
    def save():
        with suppress(LookupError), transaction.atomic():
            async_to_sync(pm_realtime.asend_to_room)("a", "saved")
            async_to_sync(pm_realtime.asend_to_room)("a", "early", on_commit=False)
            if not ends_well:
                raise LookupError

    async with Connection() as listener:
        await pm_realtime.asubscribe(listener.connection_id, "a")
        await listener.assert_push("subscribed")
        await sync_to_async(save)()
        assert await listener.types_so_far() == ["early", *["saved"] * ends_well]


def test_an_async_twin_called_from_a_transaction_without_a_server_waits_too(transactional_db):
    with capture_pushes() as pushes:
        with suppress(LookupError), transaction.atomic():
            async_to_sync(pm_realtime.asend_to_room)("a", "rolled back")
            raise LookupError
        with transaction.atomic():
            async_to_sync(pm_realtime.asend_to_room)("a", "saved")
            assert pushes == []
    assert [push.type for push in pushes] == ["saved"]


def test_an_object_that_is_no_user_is_refused_whatever_its_primary_key(transactional_db):
    note = Note.objects.create(text="not a user")
    with pytest.raises(ValueError, match="expected a user or a primary key, got a Note"):
        pm_realtime.send_to_user(note, "secret")


def test_exclude_takes_the_id_of_a_connection(transactional_db):
    with pytest.raises(ValueError, match="exclude to be the id of a connection, got 5"):
        pm_realtime.send_to_room("a", "hello", exclude=5)


async def test_a_task_that_outlives_its_async_to_sync_still_pushes(transactional_db):
    may_go_on = asyncio.Event()
    tasks = []

    async def push_later():
        await may_go_on.wait()
        await pm_realtime.asend_to_connection(listener.connection_id, "late")

    async def start():
        tasks.append(asyncio.create_task(push_later()))

    async with Connection() as listener:
        await sync_to_async(async_to_sync(start))()
        may_go_on.set()
        await listener.assert_push("late")
        await asyncio.gather(*tasks)


async def test_an_async_twin_run_in_the_thread_of_a_waiting_caller_is_sent(transactional_db):
    def in_a_view():
        asyncio.run(pm_realtime.asend_to_connection(listener.connection_id, "from its own loop"))

    async def below_sync_code():
        await sync_to_async(in_a_view)()

    async with Connection() as listener:
        await sync_to_async(async_to_sync(below_sync_code))()
        await listener.assert_push("from its own loop")
