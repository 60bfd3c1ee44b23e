"""The stream of a room, for a client that comes back to it or wants its last messages."""

import asyncio

import pytest

from pm_realtime import (
    aget_stats,
    arefresh_room,
    asend_to_room,
    asubscribe,
    aunsubscribe,
    signals,
)
from pm_realtime.hub import use_hub
from pm_realtime.layer import ChangePending, room_group, user_group
from tests.connection.fakes import application
from tests.site import rules
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, Connection, assert_refusal, eventually
from tests.support.hubs import StoppingHub, send_control
from tests.support.recovery import (
    FAR_AHEAD,
    LONG_AGO,
    SlowReader,
    cursors,
    payloads,
    returning,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture(autouse=True)
def site(configure):
    configure(
        ROOMS={
            "short": {"public": True, "history": 3},
            "nothing": {"public": True, "history": 0},
            "long": {"public": True, "publish_role": "anonymous", "history": 20_000},
            "listed:<int:pk>": {"authorize": "tests.site.rules.by_list"},
        },
        DEFAULT_ROOM={"public": True, "publish_role": "anonymous"},
        RATE_LIMIT=None,
    )


@pytest.fixture
async def client():
    async with Connection() as connection:
        yield connection


async def push(room, *numbers):
    for number in numbers:
        await asend_to_room(room, "news", number)


async def subscribe(connection, room, **options):
    """The payload of the answer, which is the next envelope."""
    id = await connection.command("subscribe", {"room": room, **options})
    answer = await connection.receive()
    assert (answer["type"], answer["id"]) == ("subscribed", id), answer
    return answer["payload"]


async def start_of(room):
    """The position of ``room`` before it has any message."""
    async with Connection() as connection:
        return (await subscribe(connection, room))["cursor"]


# --- since


async def test_answer_names_the_position_of_the_room(client):
    payload = await subscribe(client, "a")
    assert payload == {"room": "a", "success": True, "cursor": payload["cursor"]}
    await push("a", 1)
    [envelope] = await client.so_far()
    assert (envelope["room"], envelope["payload"]) == ("a", 1)
    assert envelope["cursor"] > payload["cursor"]
    assert "replayed" not in envelope


async def test_missed_messages_come_in_order_and_before_newer_ones(client):
    start = await start_of("a")
    await push("a", *range(5))
    payload = await subscribe(client, "a", since=start)
    assert payload == {"room": "a", "success": True, "cursor": start, "recovered": True}
    await push("a", 5)
    envelopes = await client.so_far()
    assert payloads(envelopes) == list(range(6))
    assert [each.get("replayed") for each in envelopes] == [True] * 5 + [None]
    assert [each["room"] for each in envelopes] == ["a"] * 6
    assert cursors(envelopes) == sorted(set(cursors(envelopes)))


async def test_one_message_after_nothing_arrives(client):
    start = await start_of("a")
    await push("a", 1)
    assert (await subscribe(client, "a", since=start))["recovered"] is True
    assert payloads(await client.so_far()) == [1]


async def test_client_goes_on_from_the_last_message_that_it_had(client):
    async with Connection() as first:
        await subscribe(first, "a")
        await push("a", 1, 2, 3)
        since = cursors(await first.so_far())[1]
    assert (await subscribe(client, "a", since=since))["recovered"] is True
    assert payloads(await client.so_far()) == [3]


async def test_gap_comes_first_and_once_if_something_is_missing(client):
    start = await start_of("short")
    await push("short", *range(5))
    payload = await subscribe(client, "short", since=start)
    gap, *others = await client.so_far()
    assert payload["recovered"] is False
    assert (gap["type"], gap["payload"], gap["room"]) == ("gap", {}, "short")
    assert gap["cursor"] == payload["cursor"] < others[0]["cursor"]
    assert payloads(others) == [2, 3, 4]
    assert all(each["replayed"] for each in others)


@pytest.mark.parametrize("since", ["", "x", "9" * 40])
async def test_text_that_is_no_cursor_is_not_whole(client, since):
    await start_of("a")
    await push("a", 1)
    assert (await subscribe(client, "a", since=since))["recovered"] is False
    envelopes = await client.so_far()
    assert [each["type"] for each in envelopes] == ["gap", "news"]


async def test_client_that_is_ahead_goes_on_from_the_position_of_the_room(client):
    start = await start_of("a")
    assert (await subscribe(client, "a", since=FAR_AHEAD))["cursor"] == start
    await push("a", 1)
    assert payloads(await client.so_far()) == [1]


async def test_message_that_excluded_an_earlier_connection_does_not_come():
    start = await start_of("a")
    for exclude in ("newest", "older", "other"):
        await asend_to_room("a", "news", exclude, exclude=exclude)
    async with returning(resume=["newest", "older"]) as client:
        await subscribe(client, "a", since=start)
        assert payloads(await client.so_far()) == ["other"]


async def test_own_excluded_message_does_not_come_again(client):
    start = (await subscribe(client, "a"))["cursor"]
    await asend_to_room("a", "news", 1, exclude=client.connection_id)
    await push("a", 2)
    assert payloads(await client.so_far()) == [2]
    await subscribe(client, "a", since=start)
    assert payloads(await client.so_far()) == [2]


# --- last


@pytest.mark.parametrize(("last", "expected"), [(0, []), (2, [3, 4]), (5, range(5)), (9, range(5))])
async def test_last_messages_come_without_a_gap(client, last, expected):
    await start_of("a")
    await push("a", *range(5))
    payload = await subscribe(client, "a", last=last)
    assert "recovered" not in payload
    await push("a", 5)
    envelopes = await client.so_far()
    assert [each["type"] for each in envelopes] == ["news"] * (len(expected) + 1)
    assert payloads(envelopes) == [*expected, 5]
    assert payload["cursor"] < envelopes[0]["cursor"]


async def test_last_counts_only_if_since_is_not_whole(client):
    start = await start_of("a")
    await push("a", *range(5))
    assert (await subscribe(client, "a", since=start, last=1))["recovered"] is True
    assert payloads(await client.so_far()) == list(range(5))
    async with Connection() as other:
        assert (await subscribe(other, "a", since=LONG_AGO, last=2))["recovered"] is False
        envelopes = await other.so_far()
        assert [each["type"] for each in envelopes] == ["gap", "news", "news"]
        assert payloads(envelopes) == [3, 4]


@pytest.mark.parametrize(
    "options",
    [
        *({"since": value} for value in (1, None, [], {}, True, "x" * 41)),
        *({"last": value} for value in ("1", None, -1, 10_000_001, 1.5, True, [])),
        {"since": "", "last": -1},
    ],
)
async def test_other_values_are_an_invalid_payload(client, options):
    answer = await client.ask("subscribe", {"room": "a", **options}, id="a")
    assert_refusal(answer, "INVALID_PAYLOAD", id="a", room="a")
    assert (await client.ask("message", {"room": "a", "content": 1}))["type"] == "error"


async def test_room_that_keeps_nothing_has_no_position(client):
    payload = await subscribe(client, "nothing", last=5)
    assert payload == {"room": "nothing", "success": True}
    await push("nothing", 1)
    [envelope] = await client.so_far()
    assert "cursor" not in envelope
    async with Connection() as other:
        payload = await subscribe(other, "nothing", since=LONG_AGO)
        assert payload == {"room": "nothing", "success": True, "recovered": False}
        assert payloads(await other.so_far()) == []


# --- in the room already


async def test_second_subscribe_tells_the_present_position(client):
    start = (await subscribe(client, "a"))["cursor"]
    assert (await subscribe(client, "a"))["cursor"] == start
    await push("a", 1)
    [envelope] = await client.so_far()
    assert (await subscribe(client, "a"))["cursor"] == envelope["cursor"]


@pytest.mark.parametrize("options", [{"since": True}, {"last": 3}])
async def test_second_subscribe_may_ask_for_what_was_missed(client, options):
    start = await start_of("a")
    await push("a", 1, 2)
    await subscribe(client, "a")
    await push("a", 3)
    await client.so_far()
    if "since" in options:
        options = {"since": start}
    payload = await subscribe(client, "a", **options)
    assert payload["cursor"] == start
    await push("a", 4)
    envelopes = await client.so_far()
    assert payloads(envelopes) == [1, 2, 3, 4]
    assert [each.get("replayed") for each in envelopes] == [True, True, True, None]


async def test_joined_is_sent_once(client):
    names = []

    async def note(sender, room, **kwargs):
        names.append(room)

    signals.joined.connect(note)
    try:
        start = (await subscribe(client, "a"))["cursor"]
        await subscribe(client, "a", since=start)
        await client.is_alive()
        assert names == ["a"]
    finally:
        signals.joined.disconnect(note)


# --- rights


async def test_room_is_decided_anew_before_it_gives_anything(user, monkeypatch):
    monkeypatch.setattr(rules, "allowed", {1})
    async with Connection(user=user) as first:
        since = (await subscribe(first, "listed:1"))["cursor"]
    await push("listed:1", "secret")
    rules.allowed.discard(1)
    async with Connection(user=user) as second:
        answer = await second.ask("subscribe", {"room": "listed:1", "since": since}, id="a")
        assert_refusal(answer, "FORBIDDEN", id="a", room="listed:1")
        assert await second.so_far() == []


async def test_position_of_a_second_subscribe_is_not_ahead_of_what_is_held(user):
    consumer = application(transaction_seconds=0.1)
    async with Connection(user=user, application=consumer) as connection:
        await subscribe(connection, "a")
        await send_control(user_group(str(user.pk)), ChangePending("of an open transaction"))
        await connection.is_alive()
        await push("a", "news")
        await connection.command("subscribe", {"room": "a"})
        news, answer = await connection.receive(), await connection.receive()
        assert (news["payload"], answer["type"]) == ("news", "subscribed")
        assert answer["payload"]["cursor"] == news["cursor"]


async def test_second_subscribe_is_decided_anew_too(user, monkeypatch):
    monkeypatch.setattr(rules, "allowed", {1})
    async with Connection(user=user) as connection:
        since = (await subscribe(connection, "listed:1"))["cursor"]
        await push("listed:1", "news")
        await connection.so_far()
        rules.allowed.discard(1)  # Without a word to anybody.
        answer = await connection.ask("subscribe", {"room": "listed:1", "since": since}, id="a")
        assert_refusal(answer, "FORBIDDEN", id="a", room="listed:1")
        await push("listed:1", "secret")
        assert await connection.so_far() == []


async def test_rule_that_changes_while_the_room_is_joined_gives_nothing(user, monkeypatch):
    monkeypatch.setattr(rules, "allowed", {1})
    use_hub(hub := StoppingHub(None))
    async with Connection(user=user) as first, Connection(user=user) as second:
        since = (await subscribe(first, "listed:1"))["cursor"]
        await push("listed:1", "secret")
        await first.so_far()
        hub.stops_at = room_group("listed:1")
        await second.command("subscribe", {"room": "listed:1", "since": since})
        await hub.stop.is_reached.wait()
        rules.allowed.discard(1)
        await arefresh_room("listed:1")
        await first.assert_push("unsubscribed")
        hub.stop.go_on.set()
        await second.assert_push("subscribed")
        assert (await second.receive())["type"] == "unsubscribed"
        assert await second.so_far() == []


async def test_server_code_joins_at_the_present_position(client):
    await start_of("a")
    await push("a", 1)
    await asubscribe(client.connection_id, "a")
    joined = await client.assert_push("subscribed")
    assert joined["payload"].keys() == {"room", "success", "cursor"}
    await push("a", 2)
    [envelope] = await client.so_far()
    assert envelope["payload"] == 2
    assert joined["payload"]["cursor"] < envelope["cursor"]


# --- while a slow client catches up


class CatchingUp:
    """A client that reads nothing yet of a room with many messages, from before the first one."""

    def __init__(self, room="long", count=2000):
        self.room, self.count = room, count
        self.reader = SlowReader()

    async def __aenter__(self):
        start = await start_of(self.room)
        await push(self.room, *range(self.count))
        self.connection = Connection(application=self.reader)
        await self.connection.__aenter__()
        await self.connection.subscribe("other")
        self.reader.may_read.clear()
        await self.connection.command("subscribe", {"room": self.room, "since": start})
        await eventually(lambda: self.reader.waiting)
        return self

    async def __aexit__(self, *error):
        self.reader.may_read.set()
        await self.connection.__aexit__(*error)

    async def read(self):
        self.reader.may_read.set()
        return await self.connection.so_far()


async def test_other_commands_do_not_wait_for_a_long_history():
    async with CatchingUp() as client:
        connection = client.connection
        await push("other", "live")
        await connection.command("message", {"room": "other", "content": 1}, id="message")
        await connection.command("message", {"room": "long", "content": 2}, id="long")
        await connection.command("subscribe", {"room": "third"}, id="third")
        await connection.command("unsubscribe", {"room": "other"}, id="other")
        await connection.command("ping", id="ping")
        async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
            while (await aget_stats())["roomStats"].keys() != {"long", "third"}:
                await asyncio.sleep(0.005)
        client.reader.may_read.set()
        found = []
        while len(payloads(found)) < client.count + 1 or "long" not in map(id_of, found):
            found.append(await connection.receive())
        positions = {id_of(each): index for index, each in enumerate(found)}
        assert positions.keys() >= {"message", "third", "other", "ping", "long"}
        assert max(positions[id] for id in ("message", "third", "other", "ping")) < 1800
        assert positions["long"] == len(found) - 1
        assert [each["payload"] for each in found if each.get("room") == "long"][:-1] == [
            *range(client.count)
        ]


def id_of(envelope):
    return envelope.get("id")


async def left_by_its_client(client):
    await client.connection.command("unsubscribe", {"room": client.room})


async def taken_out(client):
    await aunsubscribe(client.connection.connection_id, client.room)


@pytest.mark.parametrize("leave", [left_by_its_client, taken_out])
async def test_leaving_ends_the_catching_up(leave):
    async with CatchingUp() as client:
        await leave(client)
        await asyncio.sleep(0.05)
        envelopes = await client.read()
        assert len(payloads(envelopes)) < 1000
        assert [each["type"] for each in envelopes][-1] == "unsubscribed"


async def test_room_that_is_closed_meanwhile_gives_nothing_more(configure, settings):
    async with CatchingUp() as client:
        closed = {**settings.PM_REALTIME["ROOMS"], "long": {"public": False}}
        configure(ROOMS=closed)
        await arefresh_room("long")
        await asyncio.sleep(0.05)
        envelopes = await client.read()
        assert len(payloads(envelopes)) < 1000
        gone = next(each for each in envelopes if each["type"] == "unsubscribed")
        assert gone["payload"]["reason"] == "forbidden"
        assert payloads(envelopes[envelopes.index(gone) :]) == []


async def test_messages_meanwhile_come_after_the_history_and_once():
    async with CatchingUp(count=600) as client:
        await push("long", *range(600, 700))
        client.reader.may_read.set()
        await push("long", *range(700, 900))
        found = []
        while len(payloads(found)) < 900:
            found.append(await client.connection.receive())
        assert payloads(found) == list(range(900))


async def test_many_rooms_at_once_do_not_overrun_the_queue(configure):
    configure(MAX_QUEUE_BYTES=200_000, MAX_ROOMS_PER_CONNECTION=20)
    rooms = [f"room {number}" for number in range(20)]
    starts = {room: await start_of(room) for room in rooms}
    for room in rooms:
        for number in range(50):
            await asend_to_room(room, "news", [number, "x" * 1000])
    reader = SlowReader()
    async with Connection(application=reader) as client:
        reader.may_read.clear()
        for room in rooms:
            await client.command("subscribe", {"room": room, "since": starts[room]})
        await eventually(lambda: reader.waiting)
        await asyncio.sleep(0.05)
        reader.may_read.set()
        found = []
        while len(payloads(found)) < 50 * len(rooms):
            found.append(await client.receive())
    for room in rooms:
        mine = [each["payload"][0] for each in found if each.get("room") == room]
        assert mine == list(range(50))
