"""Presence beside the other work of a connection: slow code of the site, doubts, and its end."""

import asyncio
import threading
from unittest.mock import patch

import pytest
from django.contrib.auth.models import Group

from pm_realtime import (
    adisconnect_connection,
    arefresh_user,
    asend_to_user,
    asubscribe,
    aunsubscribe,
    signals,
)
from pm_realtime.auth import Rechecker, recheck_identities, set_rechecker
from pm_realtime.backends import get_presence_store
from pm_realtime.exceptions import OutageError
from tests.rooms.test_presence import ROOM, found_members, join
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, Connection, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing", "options")


class Gate(asyncio.Event):
    """Counts those that wait for it."""

    waiting = 0

    async def wait(self):
        self.waiting += 1
        try:
            return await super().wait()
        finally:
            self.waiting -= 1


gates: list[Gate] = []


async def describe(users):
    await gates[-1].wait()
    return {each.pk: {"name": each.first_name} for each in users}


@pytest.fixture
def options(configure):
    presence = {"info": f"{__name__}.describe", "grace": 60}
    see = {"see": "editor", "grace": 60}
    rooms = {ROOM: {"presence": presence}, "desk": {"presence": see}, "plain": {}}
    rooms["staff"] = {"presence": {"be_seen": "admin", "grace": 60}}
    configure(ROOMS=rooms, RATE_LIMIT=None)


@pytest.fixture
async def gate():
    """The gate at which the info of users waits."""
    gates.append(Gate())
    return gates[-1]


async def test_slow_info_holds_up_neither_pushes_nor_other_rooms(user, gate):
    async with Connection(user=user) as connection:
        await connection.command("subscribe", {"room": ROOM})
        await eventually(lambda: gate.waiting == 1)
        await connection.subscribe("plain")
        await asend_to_user(user, "news")
        await connection.assert_push("news")
        gate.set()
        assert (await connection.assert_push("subscribed"))["payload"]["presence"]["total"] == 1


async def test_info_that_is_asked_again_holds_no_pushes(user, gate):
    gate.set()
    async with Connection(user=user) as connection:
        await join(connection)
        gate.clear()
        user.first_name = "Una"
        await user.asave()
        await arefresh_user(user)
        await eventually(lambda: gate.waiting == 1)
        await asend_to_user(user, "news")
        await connection.assert_push("news")
        await connection.subscribe("plain")
        gate.set()
        await connection.assert_presence(ROOM, members=[{"info": {"name": "Una"}}])


async def test_user_who_changes_while_info_is_asked_is_shown_as_last(user, gate):
    gate.set()
    async with Connection(user=user) as connection:
        await join(connection)
        gate.clear()
        for count, name in enumerate(("Una", "Ula"), 1):
            user.first_name = name
            await user.asave()
            await arefresh_user(user)
            await eventually(lambda count=count: gate.waiting == count)
        gate.set()
        await connection.assert_presence(ROOM, members=[{"info": {"name": "Ula"}}])
        await asyncio.sleep(0.05)
        (member,) = (await found_members()).values()
        assert '"Ula"' in member.profile.text


async def test_connection_that_ends_before_its_info_is_there_was_no_member(user, gate):
    async with Connection(user=user) as connection:
        await connection.command("subscribe", {"room": ROOM})
        await eventually(lambda: gate.waiting == 1)
        await close(connection, 4012)
    gate.set()
    assert await found_members() == {}


async def close(connection, code, then=None):
    """Have the server close ``connection``, and return when all of it has ended. ``then`` is set
    before that."""
    await adisconnect_connection(connection.connection_id, code=code)
    await connection.assert_closed(code)
    if then is not None:
        then.set()
    await connection.assert_ended()


class Entries:
    """The entries of a store, which answers when the test says so."""

    def __init__(self, store):
        self._enter = store.enter
        self.may_answer = asyncio.Event()
        self.has_entered = asyncio.Event()

    async def enter(self, *args, **options):
        entry = await self._enter(*args, **options)
        self.has_entered.set()
        await self.may_answer.wait()
        return entry


@pytest.fixture
async def entries():
    store = get_presence_store()
    entries = Entries(store)
    store.enter = entries.enter
    yield entries
    del store.enter


async def test_connection_that_ends_while_it_enters_is_counted_out_with_grace(user, entries, gate):
    gate.set()
    async with Connection(user=user) as first:
        await first.command("subscribe", {"room": ROOM})
        await entries.has_entered.wait()
        await close(first, 4012, entries.may_answer)
        assert set(await found_members()) == {str(user.pk)}
        async with Connection(user=user) as second:
            assert (await join(second))["members"][0]["connections"] == 1


async def test_connection_that_is_kicked_while_it_enters_has_departed(
    user, entries, gate, received
):
    gate.set()
    async with Connection(user=user) as connection:
        await connection.command("subscribe", {"room": ROOM})
        await entries.has_entered.wait()
        await close(connection, 4503, entries.may_answer)
    assert await found_members() == {}
    await eventually(lambda: received == ["arrived", "departed"])


async def test_connection_that_is_kicked_while_it_leaves_has_departed(user, gate, received):
    gate.set()
    store = get_presence_store()
    leave, has_left, may_answer = store.leave, asyncio.Event(), asyncio.Event()

    async def leave_slowly(*args, **options):
        answer = await leave(*args, **options)
        has_left.set()
        await may_answer.wait()
        return answer

    async with Connection(user=user) as connection:
        await connection.subscribe(ROOM)
        with patch.object(store, "leave", leave_slowly):
            await connection.command("unsubscribe", {"room": ROOM})
            await has_left.wait()
            await close(connection, 4503)
        may_answer.set()
    await eventually(lambda: received == ["arrived", "departed"])


@pytest.fixture
def received():
    """The names of the signals that were sent."""
    found = []

    async def note_arrived(**about):
        found.append("arrived")

    async def note_departed(**about):
        found.append("departed")

    signals.arrived.connect(note_arrived)
    signals.departed.connect(note_departed)
    yield found
    signals.arrived.disconnect(note_arrived)
    signals.departed.disconnect(note_departed)


async def test_member_that_could_not_enter_enters_when_its_user_is_read_again(editor, gate):
    gate.set()
    store = get_presence_store()
    async with Connection(user=editor) as connection:
        await connection.subscribe("staff")
        with patch.object(store, "enter", side_effect=OutageError("the store is away")) as enter:
            await editor.groups.aset([(await Group.objects.aget_or_create(name="admin"))[0]])
            await arefresh_user(editor)
            await eventually(lambda: enter.called)
        await arefresh_user(editor)
        await connection.assert_presence("staff", users=[editor])
        assert set(await found_members("staff")) == {str(editor.pk)}


@pytest.fixture
async def slow_rechecks():
    """Users are read again, but what was read is known only when the test says so."""
    may_return = threading.Event()

    def recheck(identities):
        results = recheck_identities(identities)
        may_return.wait(EVENT_TIMEOUT_SECONDS)
        return results

    set_rechecker(Rechecker(recheck=recheck))
    yield may_return
    may_return.set()


async def test_question_and_state_wait_while_rights_are_in_doubt(editor, slow_rechecks):
    async with Connection(user=editor) as connection:
        assert len((await join(connection, "desk"))["members"]) == 1
        await editor.groups.aremove(await Group.objects.aget(name="editor"))
        await arefresh_user(editor)
        await connection.command("presence", {"room": "desk"}, id="q")
        await connection.command("presence", {"room": "desk", "state": {"x": 1}}, id="s")
        assert await connection.is_alive()
        (member,) = (await found_members("desk")).values()
        assert member.state is None
        slow_rechecks.set()
        while (answer := await connection.receive()).get("id") != "q":
            assert "members" not in answer["payload"] or answer["type"] != "presence"
        assert answer["payload"]["total"] == 1
        assert "members" not in answer["payload"]
        assert (await connection.receive())["type"] == "ack"


@pytest.mark.parametrize("role", [None, "editor"])
async def test_members_are_not_told_while_rights_are_in_doubt(editor, slow_rechecks, role):
    store = get_presence_store()
    read = store.read

    async def read_in_doubt(*args):
        del store.read
        await editor.groups.aset([] if role is None else [await Group.objects.aget(name=role)])
        await arefresh_user(editor)
        return await read(*args)

    async with Connection(user=editor) as connection:
        store.read = read_in_doubt
        answer = await connection.ask("subscribe", {"room": "desk"})
        assert answer["payload"]["presence"]["total"] == 1
        assert "members" not in answer["payload"]["presence"]
        slow_rechecks.set()
        if role is None:
            assert "members" not in str(await connection.so_far())
        else:
            seen = await connection.assert_presence("desk", users=[editor])
            assert seen.me["key"] == str(editor.pk)


async def test_server_code_that_changes_its_mind_while_info_is_asked_is_followed(user, gate):
    async with Connection(user=user) as connection:
        await asubscribe(connection.connection_id, ROOM)
        await eventually(lambda: gate.waiting == 1)
        await aunsubscribe(connection.connection_id, ROOM)
        await connection.so_far()
        gate.set()
        await asyncio.sleep(0.05)
        assert await connection.so_far() == []
        assert await found_members() == {}
        await asubscribe(connection.connection_id, ROOM)
        await connection.assert_push("subscribed")
