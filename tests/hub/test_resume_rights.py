"""Missed messages go only to the same user in the same session, for a limited time."""

import asyncio
import gc
from types import SimpleNamespace

import pytest

from pm_realtime import (
    adisconnect_connection,
    adisconnect_user,
    aget_stats,
    arefresh_room,
    arefresh_user,
    asend_to_room,
    asend_to_user,
    asubscribe,
    aunsubscribe,
)
from pm_realtime.hub import get_hub
from pm_realtime.hub.resume import ResumeBuffer
from tests.hub.resuming import drop, join, missed_by, payloads, pushed, read
from tests.site import rules
from tests.support.helpers import NO_CONNECTIONS, eventually, layer_groups
from tests.support.sessions import ENGINES, Browser

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def test_client_that_closes_has_no_resume_buffer(connect, browser, user):
    first = await connect(browser)
    await join(first)
    await drop(first, 1000)
    await asend_to_user(user, "news", 1)
    await asend_to_room("open", "news", 1)
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected
    assert await missed_by(second) == []


async def test_client_that_does_not_ask_has_no_resume_buffer(connect, browser, user):
    first = await connect(browser, query="")
    await join(first)
    await drop(first)
    await asend_to_user(user, "news", 1)
    second = await connect(browser, after=first)
    assert await missed_by(second) == []
    assert "resumed" not in second.connected


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("client", ["another session", "another user", "nobody"])
async def test_missed_messages_are_for_the_same_user_in_the_same_session(
    connect, user, editor, client, is_open
):
    first = await connect(await Browser.of(user))
    await join(first)
    if not is_open:
        await drop(first)
    await asend_to_user(user, "news", 1)
    await asend_to_room("open", "news", 1)
    other = None
    if client != "nobody":
        other = await Browser.of(user if client == "another session" else editor)
    second = await connect(other, after=first, seen=0)
    assert "resumed" not in second.connected
    assert await missed_by(second) == []
    assert not is_open or await first.is_alive()


@pytest.mark.parametrize("engine", ENGINES)
async def test_same_session_is_known_in_every_session_engine(
    connect, user, settings, tmp_path, engine
):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    mine, other = await Browser.of(user), await Browser.of(user)
    first = await connect(mine)
    await drop(first)
    assert "resumed" not in (await connect(other, after=first)).connected
    assert (await connect(mine, after=first)).connected["resumed"] == first.connection_id


async def test_anonymous_client_is_known_by_its_cookie(connect, user):
    mine = SimpleNamespace(headers=[(b"cookie", b"sessionid=mine")])
    first = await connect(mine)
    await join(first)
    await drop(first)
    await asend_to_room("open", "news", 1)
    stranger = SimpleNamespace(headers=[(b"cookie", b"sessionid=other")])
    for other in (stranger, None):
        assert await missed_by(await connect(other, after=first)) == []
    last = await connect(mine, after=first)
    assert last.connected["resumed"] == first.connection_id
    assert await missed_by(last) == [1]


@pytest.mark.parametrize("cookie", [None, b"sessionid=", b"csrftoken=a", b"sessionid"])
@pytest.mark.parametrize("is_open", [False, True])
async def test_visitors_without_a_session_get_nothing_of_each_other(connect, cookie, is_open):
    visitor = SimpleNamespace(headers=[(b"cookie", cookie)] if cookie else [])
    first = await connect(visitor)
    await join(first)
    if not is_open:
        await drop(first)
    await asend_to_room("open", "news", 1)
    second = await connect(visitor, after=first, seen=0)
    assert "resumed" not in second.connected
    assert await missed_by(second) == []
    assert not is_open or await first.is_alive()


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
async def test_change_of_rights_ends_a_resume_buffer(
    connect, user, end, is_early, everything_arrived
):
    browser = await Browser.of(user)
    first = await connect(browser)
    await join(first)
    await drop(first)
    await asend_to_room("open", "news", 1)
    await asend_to_user(user, "news", 1)
    if is_early:
        await end(first, user)
        await everything_arrived()
    second = await connect(browser, after=first)
    assert ("resumed" in second.connected) is not is_early
    if not is_early:
        # It has already got the message for the user.
        await read(second, 1)
        await end(first, user)
        await everything_arrived()
    assert await missed_by(second) == []


async def test_connection_closed_by_the_server_has_no_resume_buffer(connect, browser, user):
    first = await connect(browser)
    await adisconnect_connection(first.connection_id, code=4000)
    await first.assert_closed(4000)
    await first.assert_ended()
    await asend_to_user(user, "news", 1)
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected


async def test_room_that_was_left_meanwhile_gives_nothing(connect, browser, everything_arrived):
    first = await connect(browser)
    await join(first)
    await join(first, "other")
    await drop(first)
    for room in ("open", "other"):
        await asend_to_room(room, "news", room)
    await aunsubscribe(first.connection_id, "open")
    await asend_to_room("open", "news", "later")
    await everything_arrived()
    second = await connect(browser, after=first)
    assert await missed_by(second) == []
    assert await missed_by(second, "other") == ["other"]


async def test_room_whose_rules_changed_gives_nothing(connect, browser, everything_arrived):
    first = await connect(browser)
    await join(first)
    await drop(first)
    await asend_to_room("open", "news", 1)
    await arefresh_room("open")
    await everything_arrived()
    second = await connect(browser, after=first)
    assert await missed_by(second) == []


async def test_room_is_decided_again_before_it_gives_anything(connect, browser, monkeypatch):
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


async def test_room_that_the_client_left_gives_nothing(connect, browser):
    first = await connect(browser)
    await join(first)
    await asend_to_room("open", "news", 1)
    await first.so_far()
    await first.ask("unsubscribe", {"room": "open"})
    await drop(first)
    second = await connect(browser, after=first, seen=1)
    assert "resumed" in second.connected
    assert await missed_by(second) == []


async def test_room_that_server_code_subscribes_both_to_goes_on(connect, browser):
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


# Limits


async def test_too_many_missed_messages_are_dropped(connect, browser, user, configure):
    configure(MAX_QUEUE_BYTES=10_000)
    first, other = await connect(browser), await connect(browser)
    await drop(first)
    for number in range(10):
        await asend_to_user(user, "news", f"{number}{'x' * 600}")
    await other.so_far()
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected
    assert await pushed(second) == []


async def test_client_that_has_read_too_little_starts_afresh(connect, browser, user, configure):
    configure(MAX_QUEUE_BYTES=10_000)
    first = await connect(browser)
    for number in range(10):
        await asend_to_user(user, "news", f"{number}{'x' * 600}")
    await first.so_far()
    await drop(first)
    second = await connect(browser, after=first, seen=1)
    assert "resumed" not in second.connected


async def test_resume_buffer_is_no_connection_and_expires(connect, browser, user, configure):
    configure(RESUME_PERIOD=0.3)
    first = await connect(browser)
    await drop(first)
    assert await aget_stats() == NO_CONNECTIONS
    assert len(get_hub()) == 0
    assert layer_groups() != {}
    await eventually(lambda: layer_groups() == {})
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected


async def test_client_that_resumes_all_the_time_leaves_few_buffers(connect, browser, configure):
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
    buffers = [each for each in gc.get_objects() if type(each) is ResumeBuffer]
    assert len(buffers) <= 18, (count, len(buffers))


async def test_hub_goes_on_with_a_resume_buffer_alone(connect, browser, user):
    first = await connect(browser)
    await join(first)
    await drop(first)
    await asend_to_room("open", "news", 1)
    second = await connect(browser, after=first)
    assert await missed_by(second) == [1]


async def test_period_of_zero_keeps_nothing(connect, browser, user, configure):
    configure(RESUME_PERIOD=0)
    first = await connect(browser)
    await drop(first)
    assert layer_groups() == {}
    await asend_to_user(user, "news", 1)
    second = await connect(browser, after=first)
    assert "resumed" not in second.connected
    assert await pushed(second) == []
