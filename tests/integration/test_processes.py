"""A site of many processes on one Valkey: whoever pushes reaches everybody."""

import asyncio
import contextlib

import pytest

from tests.integration.client import Listener, connect
from tests.support.helpers import eventually

COUNT = 50


@pytest.mark.parametrize("layer", ["pubsub", pytest.param("core", marks=pytest.mark.slow)])
async def test_a_push_from_anywhere_reaches_all_sockets_once_and_in_order(cluster, layer):
    """Two uvicorn, a daphne, a gunicorn that serves no sockets, and a management command."""
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
        everything = list(range(5 * COUNT))
        for listener in listeners:
            assert await take_numbers(listener, 5 * COUNT) == everything
        await asyncio.gather(*(push_from(servers, number) for number in range(5)))
        for listener in listeners:
            numbers = await take_numbers(listener, 5 * COUNT)
            assert sorted(numbers, key=lambda number: number // COUNT) == everything
    assert [server.log for server in servers] == [""] * 4


async def push_from(servers, number):
    """Push the ``number``th lot from one of ``servers``, or from a command after the last."""
    start = number * COUNT
    if number < len(servers):
        path = f"/burst/?room=open&count={COUNT}&start={start}"
        assert (await servers[number].aget(path)).body == "sent"
    else:
        command = ("burst", "open", str(COUNT), str(start), "--skip-checks")
        done = await asyncio.to_thread(servers[0].run, *command)
        assert done.stderr == ""


async def take_numbers(listener, count):
    """The numbers of all that has come when ``count`` have, and nothing is behind them."""
    await eventually(lambda: len(listener.received) >= count)
    assert (await listener.ask("ping"))["type"] == "pong"
    received, listener.received = listener.received, []
    return [envelope["payload"]["n"] for envelope in received]
