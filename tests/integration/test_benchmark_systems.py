"""Each system of the benchmarks does what is measured, and speaks as the benchmarks think."""

import json
from contextlib import closing

import pytest

from benchmarks.check import check_alone
from benchmarks.processes import Ground
from benchmarks.servers.json_rooms import Rooms
from benchmarks.systems import SYSTEMS, node
from benchmarks.systems.dialects import JSONRooms, SocketIO
from benchmarks.systems.packages import lacking

#: Those of :mod:`benchmarks.systems.node` once their packages are there.
NODE = {system.name for system in node.systems()}


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
def test_a_message_reaches_everybody_in_order(name, ground, request):
    system = request.getfixturevalue("installed")[name] if name in NODE else SYSTEMS[name]
    assert not system.missing, system.missing
    check_alone(ground, system)


def test_what_is_missing_comes_with_the_way_to_get_it():
    assert lacking("json", "asyncio") == ""
    assert "no_such_module" in lacking("json", "no_such_module")
    assert ".[bench]" in lacking("no_such_module")


def test_a_ping_of_socket_io_is_answered_and_nothing_else():
    dialect = SocketIO()
    assert dialect.reply(b"2") == b"3"
    assert dialect.reply(b'42["message",{"room":"a","content":"2"}]') is None


@pytest.mark.parametrize("dialect", [JSONRooms(), SocketIO()])
def test_a_dialect_reads_back_what_it_publishes(dialect):
    assert dialect.bodies(dialect.publish("room-1", 'ä"1')) == ('ä"1',)
    assert dialect.bodies(dialect.opening("room-1")[-1]) == ()


def test_a_hub_in_python_forgets_who_left():
    rooms = Rooms()
    for name in "ada", "bob":
        rooms.answer(name, '{"type": "subscribe", "payload": {"room": "a"}}')
    receivers, told = rooms.answer(
        "ada", '{"type": "message", "payload": {"room": "a", "content": "hi"}}'
    )
    assert receivers == {"ada", "bob"}
    assert json.loads(told)["payload"] == {"room": "a", "content": "hi"}
    rooms.leave("ada")
    assert rooms.members == {"a": {"bob"}}
    rooms.leave("bob")
    assert not rooms.members
