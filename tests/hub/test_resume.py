"""The next connection of a client gets what the last one missed, once and in order."""

import asyncio
import json
import random

import pytest

from pm_realtime import (
    abroadcast,
    aget_stats,
    asend_to_connection,
    asend_to_role,
    asend_to_room,
    asend_to_user,
)
from pm_realtime.hub import Hub, use_hub
from pm_realtime.hub.messages import NEVER_SENT, Message
from pm_realtime.hub.resume import ResumeBuffer
from tests.hub.resuming import drop, join, payloads, pushed, read
from tests.support.sessions import Browser

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.mark.parametrize("code", [1001, 1005, 1006, 4000])
async def test_missed_messages_come_once_and_in_order(connect, browser, user, code):
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


async def test_unread_messages_come_again_marked_as_resent(connect, browser, user):
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


async def test_open_connection_gives_way(connect, browser, user):
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
async def test_connection_that_gives_way_does_not_count(connect, browser, configure, policy):
    configure(MAX_CONNECTIONS_PER_USER=2, CONNECTION_LIMIT_POLICY=policy)
    other = await connect(browser)
    first = await connect(browser)
    second = await connect(browser, after=first)
    assert second.connected["resumed"] == first.connection_id
    assert await second.is_alive()
    assert await other.is_alive()


async def test_client_may_resume_again_and_again(connect, browser, user):
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
@pytest.mark.parametrize("knows_second", [True, False])
async def test_connection_that_drops_at_once_passes_everything_on(
    connect, user, is_open, has_joined, knows_second
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
    third = await connect(browser, after=second if knows_second else first)
    if is_open:
        await second.assert_closed(4001)
    assert payloads(await read(third, 3)) == ["user 0", "user 1", "user 2"]
    await join(third)
    assert payloads(await read(third, 3)) == ["room 0", "room 1", "room 2"]
    assert await pushed(third) == []


async def test_excluded_connection_gets_nothing_later(connect, browser, user):
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


async def test_excluded_connection_gets_nothing_on_a_later_connection(connect, browser):
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


async def test_message_for_the_last_connection_alone_is_dropped(connect, browser):
    first = await connect(browser)
    await drop(first)
    await asend_to_connection(first.connection_id, "news", 1)
    second = await connect(browser, after=first)
    assert second.connected["resumed"]
    assert await pushed(second) == []


async def test_each_of_many_messages_comes_once(connect, browser, user, configure):
    # Enough for everything that is sent while a busy machine opens a connection.
    configure(MAX_QUEUE_BYTES=10**8, RESUME_PERIOD=60)
    seeded = random.Random(5)
    is_over = asyncio.Event()
    counts = {"user": 0, "room": 0}

    async def publish():
        while not is_over.is_set():
            for _ in range(seeded.randrange(4)):
                await asend_to_user(user, "news", ["user", counts["user"]])
                counts["user"] += 1
                # Often several, so that they arrive together.
                for _ in range(seeded.randrange(1, 4)):
                    await asend_to_room("open", "news", ["room", counts["room"]])
                    counts["room"] += 1
            await asyncio.sleep(0.001)  # As often as other tasks get a turn.

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


async def test_join_during_a_delivery_gets_the_message(connect, browser):
    use_hub(Hub(members_per_turn=1))
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


@pytest.mark.parametrize(("seen", "is_given"), [(0, False), (1, False), (2, True), (3, True)])
def test_open_connection_drops_old_messages(seen, is_given):
    buffer = ResumeBuffer("first")
    for number in range(1, 5):
        buffer.note(number, Message(number, float(number), "group", '{"type":"news"}', 15), 1000)
    buffer.trim(2.5)
    buffer.keep(("user", None), {"group"}, 10)
    buffer.trim(9)
    assert buffer.give_to("second", seen, 10) is is_given
    if is_given:
        resent = [json.loads(message.text)["resent"] for message in buffer.hand_over("group", 4)]
        assert resent == list(range(seen + 1, 5))


async def test_resent_message_is_json(connect, browser, user):
    first = await connect(browser)
    await asend_to_user(user, "news", {"text": 'a "b" }', "n": [1]})
    await first.so_far()
    await drop(first)
    second = await connect(browser, after=first)
    event = await second.receive_output()
    envelope = json.loads(event["text"])
    assert (envelope["payload"], envelope["resent"]) == ({"text": 'a "b" }', "n": [1]}, 1)


def test_message_under_way_goes_to_the_successor_that_had_joined():
    buffer = ResumeBuffer("first")
    buffer.keep((None, None), {"room", "other"}, 10)
    buffer.give_to("second", 0, 10)
    buffer.hand_over("room", 5)
    buffer.pass_on("third", 20)

    def note(serial, group):
        return buffer.note(NEVER_SENT, Message(serial, 0.0, group, "{}", 2), 1000)

    assert note(5, "room") == "second"
    assert note(6, "room") is None
    assert note(5, "other") is None
