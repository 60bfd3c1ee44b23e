"""A push from any process of a site on one Valkey reaches the sockets of all."""

import asyncio
import contextlib
import uuid

import pytest

from tests.integration.client import Listener, connect
from tests.support.helpers import eventually

PUSHES_PER_SENDER = 50


@pytest.mark.parametrize("layer", ["pubsub", pytest.param("core", marks=pytest.mark.slow)])
async def test_pushes_from_all_processes_reach_all_sockets_once_and_in_order(cluster, layer):
    """Two uvicorn, a daphne, a gunicorn that serves no sockets, and a management command push."""
    config = {"capacity": 1000} if layer == "core" else {}
    servers = cluster("uvicorn", "uvicorn", "daphne", "gunicorn", layer=layer, config=config)
    async with contextlib.AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(connect(server, kind=Listener))
            for server in servers[:3]
            for _ in range(2)
        ]
        for listener in listeners:
            await listener.ask("subscribe", {"room": "open"})
        for number in range(5):
            await push_from(servers, number)
        count = 5 * PUSHES_PER_SENDER
        for listener in listeners:
            assert await take_numbers(listener, count) == list(range(count))
        await asyncio.gather(*(push_from(servers, number) for number in range(5)))
        for listener in listeners:
            numbers = await take_numbers(listener, count)
            by_sender = sorted(numbers, key=lambda number: number // PUSHES_PER_SENDER)
            assert by_sender == list(range(count))
    assert [server.log for server in servers] == [""] * 4


async def test_message_that_is_repeated_in_another_process_is_in_the_room_once(cluster):
    """As after a break in which the answer was lost."""
    servers = cluster("uvicorn", "daphne")
    async with connect(servers[0], kind=Listener) as listener:
        await listener.ask("subscribe", {"room": "open"})
        for content in ("hello", "again"):
            answers, id = [], str(uuid.uuid4())
            for server in (*servers, servers[0]):
                async with connect(server) as client:
                    await client.subscribe("open")
                    message = {"room": "open", "content": content}
                    answers.append(await client.ask("message", message, id=id))
            assert [answer["type"] for answer in answers] == ["message", "ack", "ack"]
            assert {answer["id"] for answer in answers} == {id}
        assert (await listener.ask("ping"))["type"] == "pong"
        contents = [payload["content"] for payload in listener.of_type("message")]
        assert contents == ["hello", "again"]


async def push_from(servers, number):
    """Push from ``servers[number]``, or from a management command if there are fewer servers."""
    count, start = PUSHES_PER_SENDER, number * PUSHES_PER_SENDER
    if number < len(servers):
        path = f"/burst/?room=open&count={count}&start={start}"
        assert (await servers[number].aget(path)).body == "sent"
    else:
        command = ("burst", "open", str(count), str(start), "--skip-checks")
        done = await asyncio.to_thread(servers[0].run, *command)
        assert done.stderr == ""


async def take_numbers(listener, count):
    """Wait for ``count`` pushes and return the numbers of all that have arrived."""
    await eventually(lambda: len(listener.received) >= count)
    assert (await listener.ask("ping"))["type"] == "pong"
    received, listener.received = listener.received, []
    return [envelope["payload"]["n"] for envelope in received]
