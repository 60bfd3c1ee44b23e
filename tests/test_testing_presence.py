"""Connections of a test know the members of their rooms."""

import asyncio
import json

import pytest

from pm_realtime import aget_presence
from pm_realtime.testing import RealtimeCommunicator

ROOM = "room"


def member(key, since=1, **fields):
    info = {"name": f"User {key}"}
    return {"key": key, "userId": key, "info": info, "since": since, "connections": 1, **fields}


def change(rev, prev, total, **lists):
    lists = {"joined": [], "updated": [], "left": [], **lists}
    return {"room": ROOM, "rev": rev, "prev": prev, "total": total, **lists}


class Server:
    """The server's end of one connection, as an application."""

    def __init__(self, presence=None):
        self.presence = presence
        self.commands = []
        self.answers = {}
        self.outgoing = None

    async def __call__(self, scope, receive, send):
        self.outgoing = send
        await receive()
        await send({"type": "websocket.accept"})
        await self.frame("connected", {"userId": "1", "connectionId": "c", "cursors": {}})
        while (event := await receive())["type"] != "websocket.disconnect":
            await self.answer(json.loads(event["text"]))

    async def answer(self, command):
        self.commands.append(command)
        type, room = command["type"], command["payload"]["room"]
        if type == "presence":
            await self.frame("presence", {"room": room, **self.presence}, id=command["id"])
            return
        payload = {"room": room, "success": True}
        if type == "subscribe" and self.presence is not None:
            payload["presence"] = self.presence
        await self.frame(f"{type}d", payload, id=command["id"])

    async def frame(self, type, payload, **rest):
        envelope = {"type": type, "payload": payload, "timestamp": 1, **rest}
        await self.outgoing({"type": "websocket.send", "text": json.dumps(envelope)})

    async def change(self, *args, **lists):
        await self.frame("presence", change(*args, **lists), room=ROOM)

    def types(self):
        return [command["type"] for command in self.commands]


def connect(server):
    return RealtimeCommunicator(application=server)


async def test_members_are_those_of_the_reply_and_all_changes_since():
    server = Server({"rev": 10, "total": 1, "members": [member("1")], "me": "1"})
    async with connect(server) as connection:
        assert connection.presence(ROOM).total == 0
        await connection.subscribe(ROOM)
        await server.change(20, 10, 2, joined=[member("2", 2)])
        await server.change(30, 20, 1, left=["2"], updated=[member("1", connections=2)])
        await server.change(40, 30, 2, joined=[member("3", 0)])
        seen = connection.presence(ROOM)
        assert (seen.total, seen.users) == (2, ["1", "3"])
        assert [each["key"] for each in seen.members] == ["3", "1"]
        assert seen.me["connections"] == 2


async def test_presence_is_awaited_and_other_envelopes_are_left():
    server = Server({"rev": 10, "total": 1, "members": [member("1")], "me": "1"})
    async with connect(server) as connection:
        await connection.subscribe(ROOM)

        async def happen():
            await server.frame("first", 1)
            await server.change(20, 10, 2, joined=[member("2", state={"typing": True})])
            await server.frame("second", 2)

        task = asyncio.create_task(happen())
        await connection.assert_presence(ROOM, total=2, users=["2", "1"])
        seen = await connection.assert_presence(
            ROOM, members=[{"key": "2", "state": {"typing": True}}, {"userId": "1"}]
        )
        await task
        assert seen.me["key"] == "1"
        assert [(await connection.receive())["type"] for _ in range(2)] == ["first", "second"]
        await connection.assert_nothing()


async def test_failure_says_what_was_expected_and_seen():
    async with connect(Server({"rev": 1, "total": 7})) as connection:
        await connection.subscribe(ROOM)
        seen = connection.presence(ROOM)
        assert (seen.total, seen.members, seen.me) == (7, None, None)
        with pytest.raises(AssertionError, match=r"Expected presence \{'total': 8\}.*total=7"):
            await connection.assert_presence(ROOM, total=8, timeout=0.05)


async def test_failure_says_that_there_is_no_presence():
    async with connect(Server(None)) as connection:
        await connection.subscribe(ROOM)
        with pytest.raises(AssertionError, match="in no room of that name that has presence"):
            await connection.assert_presence(ROOM, total=1, timeout=0.05)


@pytest.mark.parametrize("expected", [{"users": ["1"]}, {"members": [{"key": "1"}]}])
async def test_more_members_than_expected_are_not_as_expected(expected):
    server = Server({"rev": 1, "total": 2, "members": [member("1"), member("2")]})
    async with connect(server) as connection:
        await connection.subscribe(ROOM)
        with pytest.raises(AssertionError, match="Expected presence"):
            await connection.assert_presence(ROOM, **expected, timeout=0.05)


async def test_changes_that_it_knows_already_change_nothing():
    server = Server({"rev": 30, "total": 1, "members": [member("1")], "me": "1"})
    async with connect(server) as connection:
        await connection.subscribe(ROOM)
        await server.change(30, 20, 2, joined=[member("2")])
        assert connection.presence(ROOM).users == ["1"]
        await server.change(40, 20, 1, left=["2"], updated=[member("1", connections=3)])
        assert connection.presence(ROOM).me["connections"] == 3


async def test_it_asks_as_clients_do_if_a_change_is_missing():
    server = Server({"rev": 10, "total": 1, "members": [member("1")], "me": "1"})
    async with connect(server) as connection:
        await connection.subscribe(ROOM)
        server.presence = {"rev": 50, "total": 2, "members": [member("1"), member("3")], "me": "1"}
        await server.change(50, 40, 2, joined=[member("3")])
        await connection.assert_presence(ROOM, users=["1", "3"])
        await connection.assert_nothing()
        assert server.types() == ["subscribe", "presence"]


async def test_members_are_told_no_more_and_then_again():
    server = Server({"rev": 10, "total": 1, "members": [member("1")], "me": "1"})
    async with connect(server) as connection:
        await connection.subscribe(ROOM)
        count = {"room": ROOM, "rev": 20, "prev": 10, "total": 300}
        await server.frame("presence", count, room=ROOM)
        assert (await connection.assert_presence(ROOM, total=300)).members is None
        whole = {"room": ROOM, "rev": 30, "prev": 20, "total": 1, "members": [member("1")]}
        await server.frame("presence", whole, room=ROOM)
        assert (await connection.assert_presence(ROOM, users=["1"])).me["key"] == "1"


async def test_own_member_is_another_one_after_a_change_of_role():
    server = Server({"rev": 10, "total": 1, "members": [member("1")], "me": "1"})
    async with connect(server) as connection:
        await connection.subscribe(ROOM)
        for rev, me in (20, None), (30, "1"):
            whole = {"rev": rev, "prev": 10, "total": 1, "members": [member("1")], "me": me}
            await server.frame("presence", {"room": ROOM, **whole}, room=ROOM)
            assert (connection.presence(ROOM).me is None) == (me is None)


async def test_answer_to_a_question_of_the_test_is_left_to_it():
    server = Server({"rev": 10, "total": 1, "members": [member("1")]})
    async with connect(server) as connection:
        await connection.subscribe(ROOM)
        id = await connection.command("presence", {"room": ROOM})
        await connection.assert_presence(ROOM, total=1)
        assert (await connection.assert_reply(id, "presence"))["payload"]["rev"] == 10


async def test_nobody_is_in_a_room_that_was_left_or_has_no_presence():
    server = Server({"rev": 10, "total": 1, "members": [member("1")], "me": "1"})
    async with connect(server) as connection:
        await connection.subscribe(ROOM)
        await connection.assert_reply(
            await connection.command("unsubscribe", {"room": ROOM}), "unsubscribed"
        )
        assert connection.presence(ROOM).total == 0
        server.presence = None
        await connection.subscribe("plain")
        await connection.assert_presence("plain", total=0, users=[])


async def test_member_leaves_at_the_end_of_its_block_but_not_after_a_cut_wire():
    presence = {"rev": 10, "total": 1, "members": [member("1")], "me": "1"}
    servers = [Server(presence), Server(presence), Server({"rev": 1, "total": 0, "members": []})]
    for server in servers:
        async with connect(server) as connection:
            await connection.subscribe(ROOM)
            if server is servers[1]:
                await connection.drop()
    assert [server.types()[1:] for server in servers] == [["unsubscribe"], [], []]


async def test_close_of_the_server_is_no_presence():
    server = Server({"rev": 10, "total": 1, "members": [member("1")], "me": "1"})
    async with connect(server) as connection:
        await connection.subscribe(ROOM)
        await server.outgoing({"type": "websocket.close", "code": 4503})
        with pytest.raises(AssertionError, match="got a close with 4503"):
            await connection.assert_presence(ROOM, total=2)


async def test_members_of_the_site_come_and_go(configure, user, editor):
    configure(ROOMS={ROOM: {"presence": True}})
    async with RealtimeCommunicator(user=user) as one:
        await one.subscribe(ROOM)
        async with RealtimeCommunicator(user=editor) as two, RealtimeCommunicator() as anonymous:
            await two.subscribe(ROOM)
            assert two.presence(ROOM).users == sorted([str(user.pk), str(editor.pk)])
            await one.assert_presence(ROOM, users=[user, editor])
            await two.command("presence", {"room": ROOM, "state": {"typing": True}})
            await one.assert_presence(ROOM, members=[{"state": {"typing": True}}, {}])
            assert anonymous.presence(ROOM).total == 0
        await one.assert_presence(ROOM, users=[user])
        await one.assert_nothing()
    assert (await aget_presence(ROOM)).total == 0


async def test_connection_that_broke_is_there_until_it_is_forgotten(configure, user, editor):
    configure(ROOMS={ROOM: {"presence": True}})
    async with RealtimeCommunicator(user=user) as one:
        await one.subscribe(ROOM)
        async with RealtimeCommunicator(user=editor) as two:
            await two.subscribe(ROOM)
            await one.assert_presence(ROOM, total=2)
            await two.drop()
        async with two.recover() as again:
            await again.assert_presence(ROOM, users=[user, editor])
            await again.drop()
        assert (await aget_presence(ROOM)).total == 2
        assert one.presence(ROOM).total == 2
        await one.drop()
    await RealtimeCommunicator.forget_presence()
    async with RealtimeCommunicator(user=user) as fresh:
        await fresh.subscribe(ROOM)
        assert fresh.presence(ROOM).users == [str(user.pk)]
