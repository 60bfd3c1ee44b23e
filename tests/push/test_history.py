"""The streams of rooms as a site reads them."""

import asyncio
import json

import pytest
from django.http import JsonResponse
from django.template import Context, Engine

import pm_realtime
from pm_realtime import asend_to_room, get_cursor, get_history, send_to_room
from pm_realtime.backends.streams import MESSAGES_PER_PAGE
from tests.support.helpers import Connection

NOTHING_BEFORE = "0000000000000-000000"


@pytest.fixture
def ask():
    """Call a query as sync or async code does, and check that both agree."""

    async def ask(name, *args, **kwargs):
        sync = await asyncio.to_thread(getattr(pm_realtime, name), *args, **kwargs)
        assert await getattr(pm_realtime, f"a{name}")(*args, **kwargs) == sync
        return sync

    return ask


@pytest.fixture(autouse=True)
async def sockets():
    """This process serves some, so that pushes warn of nothing."""
    async with Connection() as connection:
        yield connection


async def push(*payloads, room="lobby"):
    for payload in payloads:
        await asend_to_room(room, "note", payload)


def payloads(history):
    return [message["payload"] for message in history.messages]


async def test_history_without_since_is_the_last_messages(ask):
    assert payloads(await ask("get_history", "lobby")) == []
    await push(*range(120))
    history = await ask("get_history", "lobby")
    assert payloads(history) == [*range(20, 120)]
    assert (history.recovered, history.has_more) == (True, False)
    assert history.cursor == await ask("get_cursor", "lobby")
    assert payloads(await ask("get_history", "lobby", limit=3)) == [117, 118, 119]
    assert payloads(await ask("get_history", "lobby", limit=10_000)) == [*range(120)]


async def test_messages_are_those_of_the_wire(ask, sockets, configure):
    configure(DEFAULT_ROOM={"public": True})
    await sockets.subscribe("lobby")
    await asend_to_room("lobby", "note", {"a": ["é"]}, id="mine")
    await asend_to_room("lobby", "bare", exclude="somebody")
    first, second = (await ask("get_history", "lobby")).messages
    received = await sockets.receive()
    assert {**received, "cursor": first["cursor"]} == first
    assert first["payload"] == {"a": ["é"]}
    assert set(second) == {"type", "timestamp", "room", "cursor"}
    assert first["cursor"] < second["cursor"] == await ask("get_cursor", "lobby")


async def test_history_goes_on_from_a_cursor(ask):
    before = await ask("get_cursor", "lobby")
    assert await ask("get_history", "lobby", since=before) == pm_realtime.push.History([], before)
    count = 500
    assert count > MESSAGES_PER_PAGE
    await push(*range(count))
    seen, cursor, has_more = [], before, True
    while has_more:
        history = await ask("get_history", "lobby", since=cursor, limit=200)
        assert history.recovered
        assert len(history.messages) <= 200
        assert history.cursor == history.messages[-1]["cursor"]
        seen += payloads(history)
        cursor, has_more = history.cursor, history.has_more
    assert seen == [*range(count)]
    history = await ask("get_history", "lobby", since=cursor)
    assert (history.messages, history.cursor, history.has_more) == ([], cursor, False)


async def test_history_says_if_something_is_missing(ask, configure):
    configure(ROOMS={"two": {"history": 2}})
    before = await ask("get_cursor", "two")
    await push(1, 2, room="two")
    assert (await ask("get_history", "two", since=before)).recovered
    await push(3, room="two")
    history = await ask("get_history", "two", since=before)
    assert (payloads(history), history.recovered) == ([2, 3], False)
    assert (await ask("get_history", "two", since=history.messages[0]["cursor"])).recovered
    assert (await ask("get_history", "two")).recovered


@pytest.mark.parametrize("since", ["", "x", "1764520000123-00004", "\ud800", NOTHING_BEFORE])
async def test_text_that_is_no_cursor_of_the_room_recovers_nothing(ask, since):
    await push(1, 2)
    history = await ask("get_history", "lobby", since=since)
    assert (payloads(history), history.recovered) == ([1, 2], False)


async def test_cursor_ahead_of_the_room_goes_back(ask):
    """As after a failover to a server that lacks the last second."""
    await push(1)
    history = await ask("get_history", "lobby", since="9999999999999-000000")
    assert (history.messages, history.recovered) == ([], True)
    assert history.cursor == await ask("get_cursor", "lobby")


async def test_room_that_keeps_nothing_has_no_cursor(ask, configure):
    configure(ROOMS={"live": {"history": 0}})
    await push(1, room="live")
    assert await ask("get_cursor", "live") is None
    assert await ask("get_history", "live") == pm_realtime.push.History()
    history = await ask("get_history", "live", since=NOTHING_BEFORE)
    assert (history.messages, history.cursor, history.recovered) == ([], None, False)


async def test_history_is_as_long_as_the_options_say(ask, configure):
    configure(ROOMS={"log:<int:pk>": {"history": 700}}, RECOVERY_PERIOD=0)
    await push(*range(600), room="log:1")
    assert await ask("get_cursor", "log:1") is None
    configure(ROOMS={"log:<int:pk>": {"history": 700, "history_ttl": 60}})
    await push(*range(600), room="log:1")
    assert payloads(await ask("get_history", "log:1", limit=10_000)) == [*range(600)]


async def test_each_process_behind_a_layer_of_several_has_no_cursors_of_its_own(ask, far):
    await push(1)
    assert await ask("get_cursor", "lobby") is None
    assert (await ask("get_history", "lobby")).messages == []


async def test_history_is_json_and_fit_for_a_template(ask):
    await push({"text": "Hi <b>"})
    history = await ask("get_history", "lobby")
    answer = json.loads(JsonResponse({"messages": history.messages}).content)
    assert answer == {"messages": history.messages}
    text = "{% for each in h.messages %}{{ each.room }}: {{ each.payload.text }}{% endfor %}"
    rendered = Engine().from_string(text).render(Context({"h": history}))
    assert rendered == "lobby: Hi &lt;b&gt;"


@pytest.mark.parametrize("limit", [0, -1, 10_001, True, 1.0, "1", None])
async def test_invalid_limit_is_a_value_error(limit):
    for call in (
        lambda: asyncio.to_thread(get_history, "lobby", limit=limit),
        lambda: pm_realtime.aget_history("lobby", limit=limit),
    ):
        with pytest.raises(ValueError, match="expected a limit of 1 to 10000"):
            await call()


@pytest.mark.parametrize("since", [1, b"x", True, []])
async def test_since_must_be_text(since):
    with pytest.raises(ValueError, match="expected since to be a cursor as text"):
        await pm_realtime.aget_history("lobby", since=since)


@pytest.mark.parametrize("room", ["", None, 5, "a\nb"])
async def test_invalid_room_is_a_value_error(room):
    for call in (pm_realtime.aget_history, pm_realtime.aget_cursor):
        with pytest.raises(ValueError, match="Expected the name of a room"):
            await call(room)


async def test_room_that_only_begins_like_a_route_is_a_value_error(configure):
    configure(ROOMS={"p:<int:pk>": {}})
    with pytest.raises(ValueError, match="begins like 'p:<int:pk>'"):
        await pm_realtime.aget_cursor("p:x")


def test_process_without_sockets_has_a_history(recwarn):
    before = get_cursor("alone")
    send_to_room("alone", "note", 1)
    history = get_history("alone", since=before)
    assert (payloads(history), history.recovered) == ([1], True)
