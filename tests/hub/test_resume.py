"""What a connection missed over a short break reaches the one that goes on in its place, and nobody
else."""

import asyncio
import gc
import json
import random
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest

from pm_realtime import (
    abroadcast,
    adisconnect_connection,
    adisconnect_user,
    aget_stats,
    arefresh_room,
    arefresh_user,
    asend_to_connection,
    asend_to_role,
    asend_to_room,
    asend_to_user,
    asubscribe,
    aunsubscribe,
)
from pm_realtime.hub import get_hub, hub, read_resume_position
from pm_realtime.hub.messages import Message
from pm_realtime.hub.resume import ResumeBuffer, ResumePosition
from tests.site import rules
from tests.support.helpers import NO_CONNECTIONS, Connection, eventually, layer_groups
from tests.support.sessions import ENGINES, Browser

pytestmark = pytest.mark.usefixtures("leaves_nothing")

ROOMS = {"open": {"public": True}, "listed:<int:pk>": {"authorize": "tests.site.rules.by_list"}}


@pytest.fixture(autouse=True)
def site(configure):
    """A hub that looks at its places often."""
    configure(ROOMS=ROOMS, HEARTBEAT_INTERVAL=0.3, HEARTBEAT_TIMEOUT=0.1, RATE_LIMIT=None)


@pytest.fixture
async def connect(transactional_db):
    """``await connect(browser, after=…)``: a connection that goes on after another.

    ``seen`` is how many frames of that its client has read; by default all.
    """
    everyone = []
    async with AsyncExitStack() as stack:

        async def connect(browser=None, after=None, seen=None, query=None):
            connection = Connection(headers=browser.headers if browser else None)
            if query is None:
                query = "resume="
            if after is not None:
                query = f"resume={after.connection_id},{after.frames if seen is None else seen}"
            connection.scope["query_string"] = query.encode()
            await stack.enter_async_context(connection)
            everyone.append(connection)
            connection.frames = 0
            return connection

        yield connect
    for connection in everyone:
        await adisconnect_connection(connection.connection_id)


@pytest.fixture
async def all_is_told(connect):
    """``await all_is_told()``: until what was sent or ordered before has come to this process."""
    bystander = await connect(query="")
    return bystander.so_far


@pytest.fixture
async def browser(user):
    return await Browser.of(user)


async def read(connection, count):
    """The next ``count`` envelopes, which the client has seen then."""
    found = [await connection.receive() for _ in range(count)]
    connection.frames += count
    return found


async def join(connection, room="open"):
    """Join, having read all that comes before the answer."""
    await connection.command("subscribe", {"room": room})
    while True:
        [envelope] = await read(connection, 1)
        if envelope["type"] == "subscribed":
            return
        assert envelope["type"] != "error", envelope


async def drop(connection, code=1006):
    await connection.disconnect(code)


def payloads(envelopes):
    return [envelope["payload"] for envelope in envelopes]


async def pushed(connection):
    """The payloads of all that has come so far."""
    return [envelope["payload"] for envelope in await connection.so_far()]


# What comes


@pytest.mark.parametrize("code", [1001, 1005, 1006, 4000])
async def test_what_was_sent_meanwhile_comes_once_and_in_order(connect, browser, user, code):
    first = await connect(browser)
    await join(first)
    await asend_to_user(user, "news", "before")
    await read(first, 1)
    await drop(first, code)
    for number in range(3):
        await asend_to_user(user, "news", f"user {number}")
        await asend_to_room("open", "news", f"room {number}")
    await asend_to_role("user", "news", "role")
    await abroadcast("news", "all")
    second = await connect(browser, after=first)
    assert second.connected["resumed"] == first.connection_id
    await asend_to_user(user, "news", "user 3")
    found = payloads(await read(second, 6))
    assert sorted(found[:5]) == sorted(["user 0", "user 1", "user 2", "role", "all"])
    assert [each for each in found if each.startswith("user")] == [f"user {n}" for n in range(4)]
    await asend_to_room("open", "news", "room 3")
    await join(second)
    await asend_to_room("open", "news", "room 4")
    assert payloads(await read(second, 5)) == [f"room {number}" for number in range(5)]
    assert await pushed(second) == []


async def test_what_was_sent_and_not_read_comes_again_and_says_so(connect, browser, user):
    first = await connect(browser)
    await join(first)
    for number in range(4):
        await asend_to_user(user, "news", number)
    await asend_to_room("open", "news", 4)
    await read(first, 2)
    await first.so_far()
    await drop(first)
    await asend_to_user(user, "news", 5)
    second = await connect(browser, after=first)
    envelopes = await read(second, 3)
    assert payloads(envelopes) == [2, 3, 5]
    assert [envelope.get("resent") for envelope in envelopes] == [4, 5, None]
    await join(second)
    [envelope] = await read(second, 1)
    assert (envelope["payload"], envelope["resent"]) == (4, 6)


async def test_a_connection_that_is_still_open_gives_way(connect, browser, user):
    first = await connect(browser)
    await join(first)
    await asend_to_room("open", "news", 1)
    await asend_to_user(user, "news", 2)
    await first.so_far()
    second = await connect(browser, after=first)
    await first.assert_closed(4001)
    await asend_to_room("open", "news", 3)
    assert payloads(await read(second, 1)) == [2]
    await join(second)
    assert payloads(await read(second, 2)) == [1, 3]
    await first.assert_ended()
    assert (await aget_stats())["totalConnections"] == 1


@pytest.mark.parametrize("policy", ["refuse", "close_oldest"])
async def test_a_connection_that_gives_way_takes_nobodys_place(connect, browser, configure, policy):
    configure(MAX_CONNECTIONS_PER_USER=2, CONNECTION_LIMIT_POLICY=policy)
    other = await connect(browser)
    first = await connect(browser)
    second = await connect(browser, after=first)
    assert second.connected["resumed"] == first.connection_id
    assert await second.is_alive()
    assert await other.is_alive()


async def test_a_place_is_passed_on_again_and_again(connect, browser, user):
    connection = await connect(browser)
    await join(connection)
    for number in range(5):
        await drop(connection)
        await asend_to_room("open", "news", [number, 1])
        connection = await connect(browser, after=connection)
        await asend_to_room("open", "news", [number, 2])
        await join(connection)
        assert payloads(await read(connection, 2)) == [[number, 1], [number, 2]]


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("has_joined", [True, False])
@pytest.mark.parametrize("has_heard", [True, False])
async def test_a_connection_that_drops_at_once_gives_all_to_the_next(
    connect, user, is_open, has_joined, has_heard
):
    browser = await Browser.of(user)
    first = await connect(browser)
    await join(first)
    await asend_to_user(user, "news", "user 0")
    await asend_to_room("open", "news", "room 0")
    await first.so_far()
    await drop(first)
    await asend_to_user(user, "news", "user 1")
    await asend_to_room("open", "news", "room 1")
    second = await connect(browser, after=first)
    if has_joined:
        await second.ask("subscribe", {"room": "open"})
    if not is_open:
        await drop(second)
    await asend_to_user(user, "news", "user 2")
    await asend_to_room("open", "news", "room 2")
    third = await connect(browser, after=second if has_heard else first)
    if is_open:
        await second.assert_closed(4001)
    assert payloads(await read(third, 3)) == ["user 0", "user 1", "user 2"]
    await join(third)
    assert payloads(await read(third, 3)) == ["room 0", "room 1", "room 2"]
    assert await pushed(third) == []


async def test_who_a_message_excludes_does_not_get_it_later(connect, browser, user):
    first = await connect(browser)
    await join(first)
    await drop(first)
    await asend_to_room("open", "news", 1, exclude=first.connection_id)
    second = await connect(browser, after=first)
    await asend_to_room("open", "news", 2, exclude=second.connection_id)
    await asend_to_room("open", "news", 3)
    await join(second)
    assert payloads(await read(second, 1)) == [3]
    assert await pushed(second) == []


async def test_who_a_message_excludes_does_not_get_it_on_a_later_connection(connect, browser):
    first = await connect(browser)
    await join(first)
    await drop(first)
    second = await connect(browser, after=first)
    await asend_to_room("open", "news", 1, exclude=second.connection_id)
    await drop(second)
    third = await connect(browser, after=second)
    await asend_to_room("open", "news", 2, exclude=second.connection_id)
    await asend_to_room("open", "news", 3)
    await join(third)
    assert payloads(await read(third, 1)) == [3]
    assert await pushed(third) == []


async def test_what_was_for_the_old_connection_alone_is_gone(connect, browser):
    first = await connect(browser)
    await drop(first)
    await asend_to_connection(first.connection_id, "news", 1)
    second = await connect(browser, after=first)
    assert second.connected["resumed"]
    assert await pushed(second) == []


async def test_nothing_is_lost_nor_comes_twice_while_much_is_sent(
    connect, browser, user, configure
):
    # However much is sent while a busy machine opens a connection.
    configure(MAX_QUEUE_BYTES=10**8, RESUME_PERIOD=60)
    seeded = random.Random(5)
    is_over = asyncio.Event()
    counts = {"user": 0, "room": 0}

    async def publish():
        while not is_over.is_set():
            for _ in range(seeded.randrange(4)):
                await asend_to_user(user, "news", ["user", counts["user"]])
                counts["user"] += 1
                # Often several, which arrive together.
                for _ in range(seeded.randrange(1, 4)):
                    await asend_to_room("open", "news", ["room", counts["room"]])
                    counts["room"] += 1
            await asyncio.sleep(0.001)  # As fast as the others get their turns.

    connection = await connect(browser)
    await join(connection)
    publishing = asyncio.create_task(publish())
    found = []
    for _ in range(8):
        found += payloads(await read(connection, seeded.randrange(5, 30)))
        if seeded.randrange(2):
            await drop(connection)
        connection = await connect(browser, after=connection)
        assert "resumed" in connection.connected
        await connection.command("subscribe", {"room": "open"}, id="again")
        while (envelope := (await read(connection, 1))[0]).get("id") != "again":
            found.append(envelope["payload"])
    is_over.set()
    await publishing
    found += payloads(await connection.so_far())
    for kind, count in counts.items():
        assert [number for each, number in found if each == kind] == list(range(count))
    assert counts["room"] > 50


async def test_who_joins_while_a_message_is_handed_out_in_turns_gets_it(
    connect, browser, monkeypatch
):
    monkeypatch.setattr(hub, "BATCH", 1)
    others = [await connect(query="") for _ in range(3)]
    for other in others:
        await join(other)
    first = await connect(browser)
    await join(first)
    for turn in range(12):
        await drop(first)
        second = await connect(browser, after=first)
        await second.command("subscribe", {"room": "open"})
        sending = asyncio.create_task(asend_to_room("open", "news", turn))
        for _ in range(turn):
            await asyncio.sleep(0)
        await sending
        envelopes = await read(second, 2)
        assert sorted(envelope["type"] for envelope in envelopes) == ["news", "subscribed"]
        assert await pushed(second) == []
        first = second
        first.frames += 1


# Who gets it


async def missed_by(connection, room="open"):
    """What a connection is given at first, and when it asks for the room."""
    id = await connection.command("subscribe", {"room": room})
    envelopes = await read(connection, 1)
    while envelopes[-1].get("id") != id:
        envelopes += await read(connection, 1)
    envelopes += await connection.so_far()
    return [each["payload"] for each in envelopes if each["type"] == "news"]


async def test_who_closes_has_no_place(connect, browser, user):
    first = await connect(browser)
    await join(first)
    await drop(first, 1000)
    await asend_to_user(user, "news", 1)
    await asend_to_room("open", "news", 1)
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected
    assert await missed_by(second) == []


async def test_who_does_not_ask_has_no_place(connect, browser, user):
    first = await connect(browser, query="")
    await join(first)
    await drop(first)
    await asend_to_user(user, "news", 1)
    second = await connect(browser, after=first)
    assert await missed_by(second) == []
    assert "resumed" not in second.connected


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("who", ["another session", "another user", "nobody"])
async def test_it_is_for_the_same_user_in_the_same_session(connect, user, editor, who, is_open):
    first = await connect(await Browser.of(user))
    await join(first)
    if not is_open:
        await drop(first)
    await asend_to_user(user, "news", 1)
    await asend_to_room("open", "news", 1)
    other = None
    if who != "nobody":
        other = await Browser.of(user if who == "another session" else editor)
    second = await connect(other, after=first, seen=0)
    assert "resumed" not in second.connected
    assert await missed_by(second) == []
    assert not is_open or await first.is_alive()


@pytest.mark.parametrize("engine", ENGINES)
async def test_wherever_sessions_are(connect, user, settings, tmp_path, engine):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    mine, other = await Browser.of(user), await Browser.of(user)
    first = await connect(mine)
    await drop(first)
    assert "resumed" not in (await connect(other, after=first)).connected
    assert (await connect(mine, after=first)).connected["resumed"] == first.connection_id


async def test_a_visitor_without_a_login_is_known_by_the_cookie(connect, user):
    first = await connect()
    await join(first)
    await drop(first)
    await asend_to_room("open", "news", 1)
    stranger = SimpleNamespace(headers=[(b"cookie", b"sessionid=other")])
    second = await connect(stranger, after=first)
    assert await missed_by(second) == []
    third = await connect(after=first)
    assert third.connected["resumed"] == first.connection_id
    assert await missed_by(third) == [1]


async def disconnect(connection, user):
    await adisconnect_connection(connection.connection_id)


async def disconnect_all(connection, user):
    await adisconnect_user(user)


async def refresh(connection, user):
    await arefresh_user(user)


async def save(connection, user):
    user.first_name = "Other"
    await user.asave()


@pytest.mark.parametrize(
    ("end", "is_early"),
    [
        *((end, True) for end in (disconnect, disconnect_all, refresh, save)),
        *((end, False) for end in (disconnect, refresh, save)),
    ],
)
async def test_whatever_touches_rights_ends_it(connect, user, end, is_early, all_is_told):
    browser = await Browser.of(user)
    first = await connect(browser)
    await join(first)
    await drop(first)
    await asend_to_room("open", "news", 1)
    await asend_to_user(user, "news", 1)
    if is_early:
        await end(first, user)
        await all_is_told()
    second = await connect(browser, after=first)
    assert ("resumed" in second.connected) is not is_early
    if not is_early:
        # Of the user it has what came before.
        await read(second, 1)
        await end(first, user)
        await all_is_told()
    assert await missed_by(second) == []


async def test_a_server_that_closes_keeps_no_place(connect, browser, user):
    first = await connect(browser)
    await adisconnect_connection(first.connection_id, code=4000)
    await first.assert_closed(4000)
    await first.assert_ended()
    await asend_to_user(user, "news", 1)
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected


async def test_a_room_that_was_left_meanwhile_gives_nothing(connect, browser, all_is_told):
    first = await connect(browser)
    await join(first)
    await join(first, "other")
    await drop(first)
    for room in ("open", "other"):
        await asend_to_room(room, "news", room)
    await aunsubscribe(first.connection_id, "open")
    await asend_to_room("open", "news", "later")
    await all_is_told()
    second = await connect(browser, after=first)
    assert await missed_by(second) == []
    assert await missed_by(second, "other") == ["other"]


async def test_a_room_whose_rules_changed_gives_nothing(connect, browser, all_is_told):
    first = await connect(browser)
    await join(first)
    await drop(first)
    await asend_to_room("open", "news", 1)
    await arefresh_room("open")
    await all_is_told()
    second = await connect(browser, after=first)
    assert await missed_by(second) == []


async def test_a_room_is_decided_anew_before_it_gives_anything(connect, browser, monkeypatch):
    monkeypatch.setattr(rules, "allowed", {1, 2})
    first = await connect(browser)
    await join(first, "listed:1")
    await join(first, "listed:2")
    await drop(first)
    await asend_to_room("listed:1", "news", 1)
    await asend_to_room("listed:2", "news", 2)
    rules.allowed.discard(1)
    second = await connect(browser, after=first)
    assert await missed_by(second, "listed:1") == []
    assert await missed_by(second, "listed:2") == [2]


async def test_a_room_that_was_left_by_the_client_gives_nothing_of_before(connect, browser):
    first = await connect(browser)
    await join(first)
    await asend_to_room("open", "news", 1)
    await first.so_far()
    await first.ask("unsubscribe", {"room": "open"})
    await drop(first)
    second = await connect(browser, after=first, seen=1)
    assert "resumed" in second.connected
    assert await missed_by(second) == []


async def test_a_room_in_which_server_code_puts_both_goes_on(connect, browser):
    first = await connect(browser)
    await asubscribe(first.connection_id, "listed:1")
    await first.assert_push("subscribed")
    first.frames += 1
    await drop(first)
    await asend_to_room("listed:1", "news", 1)
    second = await connect(browser, after=first)
    await asubscribe(second.connection_id, "listed:1")
    await second.assert_push("subscribed")
    assert payloads(await read(second, 1)) == [1]


# How much, and how long


async def test_too_much_is_given_to_nobody(connect, browser, user, configure):
    configure(MAX_QUEUE_BYTES=10_000)
    first, other = await connect(browser), await connect(browser)
    await drop(first)
    for number in range(10):
        await asend_to_user(user, "news", f"{number}{'x' * 600}")
    await other.so_far()
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected
    assert await pushed(second) == []


async def test_who_has_read_too_little_begins_anew(connect, browser, user, configure):
    configure(MAX_QUEUE_BYTES=10_000)
    first = await connect(browser)
    for number in range(10):
        await asend_to_user(user, "news", f"{number}{'x' * 600}")
    await first.so_far()
    await drop(first)
    second = await connect(browser, after=first, seen=1)
    assert "resumed" not in second.connected


@pytest.mark.parametrize(("seen", "is_given"), [(0, False), (1, False), (2, True), (3, True)])
def test_what_was_sent_long_ago_is_forgotten_while_the_connection_is_open(seen, is_given):
    place = ResumeBuffer("first")
    for number in range(1, 5):
        place.note(number, Message(number, float(number), "group", '{"type":"news"}', 15), 1000)
    place.trim(2.5)
    place.keep(("user", None), {"group"}, 10)
    place.trim(9)
    assert place.give_to("second", seen, 10) is is_given
    if is_given:
        resent = [json.loads(message.text)["resent"] for message in place.hand_over("group", 4)]
        assert resent == list(range(seen + 1, 5))


async def test_a_place_is_no_connection_and_is_forgotten_in_time(connect, browser, user, configure):
    configure(RESUME_PERIOD=0.3)
    first = await connect(browser)
    await drop(first)
    assert await aget_stats() == NO_CONNECTIONS
    assert len(get_hub()) == 0
    assert layer_groups() != {}
    await eventually(lambda: layer_groups() == {})
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected


async def test_who_comes_back_all_the_time_leaves_no_trail(connect, browser, configure):
    configure(RESUME_PERIOD=0.5, CONNECT_RATE_PER_USER=None)
    connection = await connect(browser)
    until = asyncio.get_running_loop().time() + 2
    count = 0
    while asyncio.get_running_loop().time() < until:
        await drop(connection)
        connection = await connect(browser, after=connection)
        assert "resumed" in connection.connected
        await asyncio.sleep(0.05)
        count += 1
    places = [each for each in gc.get_objects() if type(each) is ResumeBuffer]
    assert len(places) <= 18, (count, len(places))


async def test_a_hub_goes_on_with_a_place_alone(connect, browser, user):
    first = await connect(browser)
    await join(first)
    await drop(first)
    await asend_to_room("open", "news", 1)
    second = await connect(browser, after=first)
    assert await missed_by(second) == [1]


async def test_a_period_of_zero_keeps_nothing(connect, browser, user, configure):
    configure(RESUME_PERIOD=0)
    first = await connect(browser)
    await drop(first)
    assert layer_groups() == {}
    await asend_to_user(user, "news", 1)
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected
    assert await pushed(second) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", None),
        (b"a=b", None),
        (b"presume=x,1", None),
        (b"resume=", ResumePosition("", 0)),
        (b"a=b&resume=", ResumePosition("", 0)),
        (b"resume=abc,12", ResumePosition("abc", 12)),
        (b"resume=abc%2C12&a=b", ResumePosition("abc", 12)),
        (b"resume=x,1&resume=abc,12", ResumePosition("abc", 12)),
        *(
            (b"resume=" + bad, ResumePosition("", 0))
            for bad in (b"abc", b"abc,", b"abc,-1", b"abc,x")
        ),
        (b"resume=abc," + b"9" * 5000, ResumePosition("", 0)),
        ("resume=abc,²".encode(), ResumePosition("", 0)),
    ],
)
async def test_the_bookmark_of_a_handshake(query, expected):
    assert read_resume_position(query) == expected


async def test_what_comes_again_is_json(connect, browser, user):
    first = await connect(browser)
    await asend_to_user(user, "news", {"text": 'a "b" }', "n": [1]})
    await first.so_far()
    await drop(first)
    second = await connect(browser, after=first)
    event = await second.receive_output()
    envelope = json.loads(event["text"])
    assert (envelope["payload"], envelope["resent"]) == ({"text": 'a "b" }', "n": [1]}, 1)


def test_what_is_being_handed_out_goes_to_who_had_joined_and_not_to_the_next():
    place = ResumeBuffer("first")
    place.keep((None, None), {"room", "other"}, 10)
    place.give_to("second", 0, 10)
    place.hand_over("room", 5)
    place.pass_on("third", 20)
    assert place.taker_of(Message(5, 0.0, "room", "{}", 2)) == "second"
    assert place.taker_of(Message(6, 0.0, "room", "{}", 2)) is None
    assert place.taker_of(Message(5, 0.0, "other", "{}", 2)) is None
