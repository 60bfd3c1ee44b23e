"""Real frames, each of which fits a schema of its type in the document."""

import json
from decimal import Decimal

import fastjsonschema
import pytest

from pm_realtime import CommandError, asend_to_room, asend_to_user
from pm_realtime.commands import command
from pm_realtime.contract import Heading, document
from pm_realtime.schemas import push_type
from pm_realtime.testing import RealtimeCommunicator
from tests.contract import shop

pytestmark = [pytest.mark.usefixtures("site"), pytest.mark.django_db(transaction=True)]

ROOM = "auction:7"
NODE_ID = "7d1f7a34-0000-4000-8000-000000000000"


@pytest.fixture
def check(configure):
    """Checks a frame of the site that is declared here."""
    presence = {"info": "tests.contract.shop.describe"}
    options = {"content": "tests.contract.shop.Note", "presence": presence}
    configure(ROOMS={"auction:<int:pk>": options})

    @command("auction.bid", room="auction:<int:pk>")
    async def bid(request, payload: shop.Bid, pk: int) -> shop.Receipt:
        if payload.amount > 1000:
            raise CommandError("TOO_MUCH", "It is too much.", data={"most": 1000})
        return shop.Receipt(pk)

    @command("tree.move")
    async def move(request, payload: shop.Node) -> shop.Node:
        return payload

    @command("address")
    async def address(request, payload: shop.Address) -> list[shop.Address]:
        return [payload]

    @command("clear")
    async def clear(request, payload: shop.Note | None) -> None: ...

    push_type("auction.price", Decimal)
    whole = json.loads(json.dumps(document(Heading("Shop", "1.0.0"))))
    by_name = {}
    for message in whole["components"]["messages"].values():
        schema = {**message["payload"], "components": whole["components"]}
        by_name.setdefault(message["name"], []).append(fastjsonschema.compile(schema))

    def check(frame):
        errors = []
        for validate in by_name[frame["type"]]:
            try:
                return validate(frame)
            except fastjsonschema.JsonSchemaException as error:
                errors.append(error.message)
        raise AssertionError(f"{frame} fits no schema: {errors}")

    return check


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        ({"type": "ping"}, "pong"),
        ({"type": "subscribe", "payload": {"room": ROOM, "last": 5}}, "subscribed"),
        ({"type": "unsubscribe", "payload": {"room": ROOM}}, "unsubscribed"),
        ({"type": "message", "payload": {"room": ROOM, "content": {"text": "Hi"}}}, "message"),
        ({"type": "auction.bid", "room": ROOM, "payload": {"amount": "12.50"}}, "result"),
        ({"type": "auction.bid", "room": ROOM, "payload": {"amount": "1001"}}, "error"),
        ({"type": "tree.move", "payload": {"nodeId": NODE_ID}}, "result"),
        ({"type": "tree.move", "payload": {"nodeId": NODE_ID, "byColour": {"red": 1}}}, "result"),
        ({"type": "presence", "payload": {"room": ROOM}}, "presence"),
        ({"type": "presence", "payload": {"room": ROOM, "state": {"x": 1}, "ttl": 0.5}}, "ack"),
        ({"type": "presence", "payload": {"room": ROOM, "state": None}}, "ack"),
        ({"type": "clear"}, "result"),
        ({"type": "clear", "payload": {"text": "Bye"}}, "result"),
        ({"type": "address", "payload": {"streetName": "Main Street"}}, "result"),
    ],
)
async def test_command_and_its_answer_fit(check, user, frame, answer):
    async with RealtimeCommunicator(user=user) as connection:
        check({"type": "connected", "timestamp": 1, "payload": connection.connected})
        check(await connection.subscribe(ROOM))
        await connection.send_json_to(check({**frame, "id": "1", "timestamp": 1}))
        found = check(await connection.receive_json_from())
        assert found["type"] == answer


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "unknown", "timestamp": 1},
        {"type": "auction.bid", "room": ROOM, "payload": {"amount": "-1"}, "timestamp": 1},
        {"type": "auction.bid", "room": "auction:8", "payload": {"amount": "1"}, "timestamp": 1},
        {"type": "message", "payload": {"room": ROOM, "content": {"text": 1}}, "timestamp": 1},
        {"type": "presence", "payload": {"room": ROOM, "state": 5}, "timestamp": 1},
        {"type": "message"},
    ],
)
async def test_errors_fit(check, user, frame):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.send_json_to(frame)
        assert check(await connection.receive_json_from())["type"] == "error"


async def test_pushes_fit(check, user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        await asend_to_room(ROOM, "auction.price", Decimal("12.50"))
        await asend_to_user(user, "notification", {"title": "Sold"})
        for name in ("auction.price", "notification"):
            assert check(await connection.receive_json_from())["type"] == name


async def test_changes_of_members_fit(check, user, editor):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe(ROOM)
        async with RealtimeCommunicator(user=editor) as other:
            await other.subscribe(ROOM)
            await connection.assert_presence(ROOM, users=[user, editor])
            await other.command("presence", {"room": ROOM, "state": {"typing": True}})
            members = [{"state": {"typing": True}, "info": {"name": "the-editor"}}, {}]
            await connection.assert_presence(ROOM, members=members)
        await connection.assert_presence(ROOM, users=[user])
        told = [check(each) for each in connection.received if each["type"] == "presence"]
        assert [list(map(len, lists(each["payload"]))) for each in told] == [
            [1, 0, 0],
            [0, 1, 0],
            [0, 0, 1],
        ]


def lists(payload):
    return [payload[name] for name in ("joined", "updated", "left")]
