"""A client that comes back with the cursors of its user, its roles and everyone."""

import asyncio
import json

import pytest
from django.contrib.auth.models import Group

from pm_realtime import (
    abroadcast,
    adisconnect_user,
    aget_user_connections,
    asend_to_role,
    asend_to_user,
)
from pm_realtime.backends import use_streams
from pm_realtime.backends.memory_streams import MemoryStreams
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import role_group
from tests.connection.fakes import application
from tests.support.helpers import Connection, assert_refused_with, eventually, layer_groups
from tests.support.recovery import (
    FAR_AHEAD,
    LONG_AGO,
    SlowReader,
    cursors,
    payloads,
    query_of,
    returning,
)
from tests.support.sessions import Browser

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
async def browser(user):
    return await Browser.of(user)


@pytest.fixture
async def start(browser):
    """The cursors of a client that has connected once, and has gone."""
    async with returning(browser) as connection:
        return connection.connected["cursors"]


def of(envelopes, to):
    return [envelope for envelope in envelopes if envelope.get("to") == to]


async def test_connected_names_the_position_of_each_own_stream(browser):
    async with returning(browser) as connection:
        found = connection.connected["cursors"]
        assert found.keys() == {"user", "all", "role:user"}
        assert all(len(cursor) == 20 for cursor in found.values())
        assert "recovered" not in connection.connected
        assert connection.connected["idempotencyPeriod"] == 300_000


async def test_higher_role_has_the_streams_of_lower_ones(editor):
    async with Connection(user=editor) as connection:
        assert connection.connected["cursors"].keys() == {
            *("user", "all", "role:user", "role:editor")
        }


async def test_anonymous_connection_has_no_own_stream():
    async with returning(since={"all": LONG_AGO}, user="") as connection:
        assert connection.connected["cursors"] == {}
        assert connection.connected["recovered"] is True
        assert await connection.so_far() == []


async def test_missed_messages_come_once_in_order_and_before_newer_ones(browser, user, start):
    for number in range(5):
        await asend_to_user(user, "news", number)
        await abroadcast("news", number)
        await asend_to_role("user", "news", number)
    async with returning(browser, since=start, user=user.pk) as connection:
        await asend_to_user(user, "news", 5)
        envelopes = await connection.so_far()
        assert connection.connected["recovered"] is True
        assert connection.connected["cursors"] == start
        for to, count in {"user": 6, "all": 5, "role:user": 5}.items():
            assert payloads(of(envelopes, to)) == list(range(count))
            found = cursors(of(envelopes, to))
            assert found == sorted(set(found))
            assert found[0] > start[to]
        assert [each.get("replayed") for each in of(envelopes, "user")] == [True] * 5 + [None]
        assert all(each["replayed"] for each in of(envelopes, "all"))


async def test_one_message_after_nothing_arrives(browser, user, start):
    await asend_to_user(user, "news", 1)
    async with returning(browser, since=start) as connection:
        assert payloads(await connection.so_far()) == [1]
        assert connection.connected["recovered"] is True


async def test_client_that_has_everything_gets_nothing_again(browser, user):
    async with returning(browser) as connection:
        await asend_to_user(user, "news", 1)
        since = {"user": (await connection.receive())["cursor"]}
    async with returning(browser, since=since) as connection:
        assert connection.connected["recovered"] is True
        assert await connection.so_far() == []


async def test_client_without_cursors_gets_nothing_old(browser, user, start):
    await asend_to_user(user, "news", 1)
    async with returning(browser, since={"all": start["all"]}) as connection:
        assert await connection.so_far() == []
        assert connection.connected["recovered"] is True
        assert connection.connected["cursors"]["user"] > start["user"]


async def test_stream_that_is_not_whole_begins_with_one_gap(browser, user, start, configure):
    configure(RECOVERY_SIZE=2)
    for number in range(5):
        await asend_to_user(user, "news", number)
    await abroadcast("news", "all")
    async with returning(browser, since=start) as connection:
        envelopes = await connection.so_far()
        assert connection.connected["recovered"] is False
        gap, *others = of(envelopes, "user")
        assert (gap["type"], gap["payload"]) == ("gap", {})
        assert gap["cursor"] == connection.connected["cursors"]["user"]
        assert payloads(others) == [3, 4]
        assert gap["cursor"] < others[0]["cursor"]
        assert payloads(envelopes) == [3, 4, "all"] or payloads(envelopes) == ["all", 3, 4]
        assert connection.connected["cursors"]["all"] == start["all"]


async def test_emptied_streams_are_told_once_each(memory_layer, browser, start):
    use_streams(MemoryStreams())
    try:
        async with returning(browser, since=start) as connection:
            assert connection.connected["recovered"] is False
            envelopes = await connection.so_far()
            assert [each["type"] for each in envelopes] == ["gap"] * 3
            assert {each["to"] for each in envelopes} == start.keys()
            again = {each["to"]: each["cursor"] for each in envelopes}
            assert again == connection.connected["cursors"]
        async with returning(browser, since=again) as connection:
            assert connection.connected["recovered"] is True
            assert await connection.so_far() == []
    finally:
        use_streams(None)


async def test_client_that_is_ahead_goes_on_from_the_servers_position(browser, user, start):
    async with returning(browser, since={"user": FAR_AHEAD}) as connection:
        assert connection.connected["cursors"]["user"] == start["user"]
        await asend_to_user(user, "news", 1)
        assert payloads(await connection.so_far()) == [1]


@pytest.mark.parametrize(
    "since", ["", "x", "[]", "null", '{"user":1}', '{"user":"yesterday"}', "[" * 5000]
)
async def test_malformed_cursors_are_as_none(browser, user, start, since):
    await asend_to_user(user, "news", 1)
    async with returning(browser, since=since) as connection:
        assert connection.connected["recovered"] is False
        assert connection.connected["cursors"].keys() == start.keys()
        assert await connection.so_far() == []


async def test_streams_of_others_are_ignored(browser, editor, start):
    await asend_to_role("editor", "news", 1)
    await asend_to_user(editor, "news", 2)
    since = {**start, "role:editor": LONG_AGO, "role:": LONG_AGO, "room": LONG_AGO, "": LONG_AGO}
    async with returning(browser, since=since) as connection:
        assert connection.connected["recovered"] is True
        assert connection.connected["cursors"] == start
        assert await connection.so_far() == []


async def test_other_user_of_the_same_browser_gets_nothing(browser, user, editor, start):
    await asend_to_user(user, "news", 1)
    await asend_to_user(editor, "news", 2)
    await abroadcast("news", 3)
    other = await Browser.of(editor)
    async with returning(other, since=start, user=user.pk, resume=["a"]) as connection:
        assert connection.connected["recovered"] is False
        assert await connection.so_far() == []
        await asend_to_user(editor, "news", 4)
        await abroadcast("news", 5, exclude="a")
        assert payloads(await connection.so_far()) == [4, 5]


async def test_user_who_logged_in_gets_nothing_for_the_cursors_of_a_visitor(browser, user, start):
    await asend_to_user(user, "news", 1)
    async with returning(browser, since=start, user="") as connection:
        assert await connection.so_far() == []


async def test_lost_role_gives_nothing(editor):
    browser = await Browser.of(editor)
    async with returning(browser) as connection:
        since = connection.connected["cursors"]
    await asend_to_role("editor", "news", "secret")
    await asend_to_role("user", "news", "open")
    await editor.groups.aclear()
    async with returning(browser, since=since, user=editor.pk) as connection:
        assert payloads(await connection.so_far()) == ["open"]
        assert connection.connected["recovered"] is True


async def test_role_that_is_gained_during_a_break_begins_with_a_gap(browser, user, start):
    await user.groups.aadd((await Group.objects.aget_or_create(name="editor"))[0])
    await asend_to_role("editor", "news", "missed")
    await asend_to_user(user, "news", "kept")
    async with returning(browser, since=start, user=user.pk) as connection:
        assert connection.connected["recovered"] is False
        await asend_to_role("editor", "news", "new")
        envelopes = await connection.so_far()
        gap, new = of(envelopes, "role:editor")
        assert (gap["type"], gap["payload"]) == ("gap", {})
        assert gap["cursor"] == connection.connected["cursors"]["role:editor"]
        assert (new["payload"], payloads(of(envelopes, "user"))) == ("new", ["kept"])


async def test_client_that_names_no_role_is_told_nothing_of_one(browser, start):
    await asend_to_role("user", "news", "for a role")
    since = {"user": start["user"]}
    async with returning(browser, since=since) as connection:
        assert connection.connected["recovered"] is True
        assert await connection.so_far() == []


async def test_message_that_excluded_an_earlier_connection_does_not_come(browser, user, start):
    for exclude in ("newest", "older", "oldest", "other"):
        await asend_to_user(user, "news", exclude, exclude=exclude)
    resume = ["newest", "older", *map(str, range(5)), "oldest", "ignored"]
    async with returning(browser, since=start, resume=resume) as connection:
        assert payloads(await connection.so_far()) == ["other"]


async def test_streams_that_keep_nothing_have_no_position(browser, user, configure):
    configure(RECOVERY_PERIOD=0)
    async with returning(browser) as connection:
        assert connection.connected["cursors"] == {}
        await asend_to_user(user, "news", 1)
        [envelope] = await connection.so_far()
        assert "cursor" not in envelope
    async with returning(browser, since={"user": LONG_AGO}) as connection:
        assert connection.connected["recovered"] is False
        assert payloads(await connection.so_far()) == []


@pytest.mark.parametrize("max_bytes", [200_000, 10_000])
@pytest.mark.parametrize("subprotocol", [None, "pm-realtime.v1.batch"])
async def test_many_missed_messages_do_not_overrun_the_queue(
    browser, start, configure, subprotocol, max_bytes
):
    user, subprotocols = browser.user, [subprotocol] if subprotocol else None
    configure(MAX_QUEUE_BYTES=max_bytes)
    for number in range(500):
        await asend_to_user(user, "news", [number, "x" * 1000])
    reader = SlowReader()
    async with returning(
        browser, since=start, application=reader, subprotocols=subprotocols
    ) as connection:
        reader.may_read.clear()
        await eventually(lambda: reader.waiting)
        await asend_to_user(user, "news", [500, ""])
        await asyncio.sleep(0.05)
        reader.may_read.set()
        found = [(await connection.receive())["payload"][0] for _ in range(501)]
        assert found == list(range(501))


async def test_messages_during_the_recovery_come_after_it(browser, user, start, configure):
    configure(RECOVERY_SIZE=1_000_000)
    is_over = asyncio.Event()
    count = 0

    async def publish():
        nonlocal count
        while not is_over.is_set():
            await asend_to_user(user, "news", count)
            count += 1
            await asyncio.sleep(0)

    publishing = asyncio.create_task(publish())
    since, found = start, []
    for _ in range(5):
        async with returning(browser, since=since, user=user.pk) as connection:
            assert connection.connected["recovered"] is True
            for _ in range(40):
                envelope = await connection.receive()
                found.append(envelope["payload"])
                since = {**since, "user": envelope["cursor"]}
    is_over.set()
    await publishing
    async with returning(browser, since=since, user=user.pk) as connection:
        while len(found) < count:
            found.append((await connection.receive())["payload"])
        assert await connection.so_far() == []
    assert found == list(range(count))


class LostStreams(MemoryStreams):
    """Streams that cannot be read."""

    async def get_tops(self, groups):
        raise BackendError("away")

    async def read(self, group, after, ttl_seconds):
        raise BackendError("away")


async def test_handshake_is_refused_while_streams_cannot_be_read(memory_layer, browser, start):
    use_streams(LostStreams())
    try:
        connection = Connection(headers=browser.headers)
        connection.scope["query_string"] = query_of(since=start)
        await assert_refused_with(connection, 4013)
    finally:
        use_streams(None)


async def test_right_that_ended_during_the_handshake_gives_nothing(browser, user, start):
    await asend_to_user(user, "news", "secret")

    class Stopping(RealtimeConsumer):
        async def accept(self, *args, **kwargs):
            await adisconnect_user(user)
            await fence.so_far()
            await super().accept(*args, **kwargs)

    async with Connection() as fence:
        connection = Connection(headers=browser.headers, application=Stopping.as_asgi())
        connection.scope["query_string"] = query_of(since=start)
        await connection.connect()
        found = []
        while (event := await connection.receive_output())["type"] == "websocket.send":
            found.append(json.loads(event["text"])["type"])
        assert event["code"] == 4503
        assert found in ([], ["connected"])


async def test_client_that_missed_nothing_needs_no_read(memory_layer, browser):
    calls = []

    class Counting(MemoryStreams):
        async def get_tops(self, groups):
            calls.append("tops")
            return await super().get_tops(groups)

        async def read(self, group, after, ttl_seconds):
            calls.append("read")
            return await super().read(group, after, ttl_seconds)

    use_streams(Counting())
    try:
        async with returning(browser) as connection:
            since = connection.connected["cursors"]
            calls.clear()
            async with returning(browser, since=since):
                assert calls == []
    finally:
        use_streams(None)


# --- while a client catches up, and after


async def test_role_that_is_gained_begins_with_a_gap(user):
    await asend_to_role("editor", "news", "before")
    async with Connection(user=user) as connection:
        await user.groups.aadd((await Group.objects.aget_or_create(name="editor"))[0])
        gap = await connection.assert_push("gap")
        assert (gap["to"], gap["payload"]) == ("role:editor", {})
        await asend_to_role("editor", "news", "after")
        envelopes = await connection.so_far()
        assert payloads(envelopes) == ["after"]
        assert "replayed" not in envelopes[0]
        assert envelopes[0]["cursor"] > gap["cursor"]


async def test_lost_role_ends_what_its_client_catches_up_with(editor):
    browser = await Browser.of(editor)
    async with returning(browser) as connection:
        since = connection.connected["cursors"]
    for number in range(400):
        await asend_to_role("editor", "news", [number, "x" * 1000])
    reader = SlowReader()
    async with returning(browser, since=since, application=reader) as connection:
        reader.may_read.clear()
        await eventually(lambda: reader.waiting)
        await editor.groups.aclear()
        await eventually(lambda: role_group("editor") not in layer_groups())
        reader.may_read.set()
        await asend_to_user(editor, "news", "fence")
        found = [await connection.receive()]
        while found[-1].get("to") != "user":
            found.append(await connection.receive())
        assert len(of(found, "role:editor")) < 300
        assert of(await connection.so_far(), "role:editor") == []


async def test_client_that_reads_nothing_of_its_history_is_closed(browser, user, start):
    for number in range(400):
        await asend_to_user(user, "news", [number, "x" * 1000])
    reader = SlowReader(application(unread_seconds=0.1, flush_seconds=0.1))
    connection = Connection(headers=browser.headers, application=reader)
    connection.scope["query_string"] = query_of(since=start)
    async with connection:
        reader.may_read.clear()
        await eventually(lambda: reader.waiting)
        await connection.assert_ended()
    assert len(await aget_user_connections(user)) == 0


async def test_messages_to_a_broken_connection_come_on_the_next(browser, user):
    reader = SlowReader()
    async with returning(browser, application=reader) as first:
        since = first.connected["cursors"]
        await asend_to_user(user, "news", 0)
        since["user"] = (await first.receive())["cursor"]
        reader.may_read.clear()
        for number in range(1, 5):
            await asend_to_user(user, "news", number)
        await eventually(lambda: reader.waiting)
        # The old socket is still open, as far as the server knows.
        async with returning(browser, since=since, resume=[first.connection_id]) as second:
            assert second.connected["recovered"] is True
            assert payloads(await second.so_far()) == [1, 2, 3, 4]
        reader.may_read.set()
