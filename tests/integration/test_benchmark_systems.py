"""Each system of the benchmarks delivers messages and speaks its dialect."""

import json
from contextlib import closing

import pytest

from benchmarks.check import check_alone
from benchmarks.processes import Ground
from benchmarks.servers.json_rooms import Rooms
from benchmarks.systems import SYSTEMS, node
from benchmarks.systems.dialects import JSONRooms, SocketIO
from benchmarks.systems.packages import lacking

#: The systems of :mod:`benchmarks.systems.node`, also before their packages are installed.
NODE_SYSTEMS = {system.name for system in node.systems()}


@pytest.fixture(scope="module")
def ground():
    with closing(Ground(people=1)) as ground:
        yield ground


@pytest.fixture(scope="module")
def installed():
    if not (node.FOLDER / "node_modules").exists():
        node.install()
    return {system.name: system for system in node.systems()}


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_messages_reach_all_subscribers_in_order(name, ground, request):
    is_node = name in NODE_SYSTEMS
    system = request.getfixturevalue("installed")[name] if is_node else SYSTEMS[name]
    assert not system.missing, system.missing
    check_alone(ground, system)


def test_missing_packages_are_named_with_their_extra():
    assert lacking("json", "asyncio") == ""
    assert "no_such_module" in lacking("json", "no_such_module")
    assert ".[bench]" in lacking("no_such_module")


def test_only_pings_of_socket_io_are_answered():
    dialect = SocketIO()
    assert dialect.reply(b"2") == b"3"
    assert dialect.reply(b'42["message",{"room":"a","content":"2"}]') is None


@pytest.mark.parametrize("dialect", [JSONRooms(), SocketIO()])
def test_dialect_reads_its_own_messages(dialect):
    assert dialect.bodies(dialect.publish("room-1", 'ä"1')) == ('ä"1',)
    assert dialect.bodies(dialect.opening("room-1")[-1]) == ()


def test_python_hub_removes_members_that_left():
    rooms = Rooms()
    for name in "ada", "bob":
        rooms.answer(name, '{"type": "subscribe", "payload": {"room": "a"}}')
    receivers, text = rooms.answer(
        "ada", '{"type": "message", "payload": {"room": "a", "content": "hi"}}'
    )
    assert receivers == {"ada", "bob"}
    assert json.loads(text)["payload"] == {"room": "a", "content": "hi"}
    rooms.leave("ada")
    assert rooms.members == {"a": {"bob"}}
    rooms.leave("bob")
    assert not rooms.members
