"""A site with commands of its own, on real servers."""

import asyncio
import contextlib
import json
import os
import random
from pathlib import Path

import pytest

from tests.integration.client import Listener, connect
from tests.integration.proxy import Proxy
from tests.integration.server import Server, layer_environment
from tests.support.helpers import eventually
from tests.support.node import node

SCRIPT = Path(__file__).with_name("command_clients.mjs")
#: The first Node that has ``WebSocket``.
NODE_VERSION = 22
SLEEP_SECONDS = 2.5
#: Answers of others meanwhile: 30, so they take less than 0.1 s each.
ROUNDS_WHILE_SLEEPING = 5
#: Each transaction waits for its turn to write.
IMMEDIATE = {"SHOP_TRANSACTION_MODE": "IMMEDIATE"}
SETUPS = {
    "uvicorn": ("uvicorn",),
    "daphne": ("daphne",),
    "two": ("uvicorn", "daphne"),
}


@pytest.fixture
def shop(tmp_path, request):
    """Start the site: ``shop("uvicorn", "daphne")``; several processes share a Valkey."""
    with contextlib.ExitStack() as stack:

        def start(*kinds, environment=None, **settings):
            environment = {"DJANGO_SETTINGS_MODULE": "tests.shop.settings", **(environment or {})}
            if len(kinds) > 1:
                url = request.getfixturevalue("valkey").url
                environment |= layer_environment("pubsub", url)
            settings = {"RATE_LIMIT": None, **settings}
            return [
                stack.enter_context(
                    Server(kind, tmp_path, settings, "tests.shop.asgi:application", environment)
                )
                for kind in kinds
            ]

        yield start


def ask_database(server, code):
    """The value of ``code``, an expression with the models of the site."""
    models = "import json; from tests.shop.models import Auction, Bid, Step"
    return json.loads(
        server.manage("shell", "-v", "0", "-c", f"{models}; print(json.dumps({code}))")
    )


@pytest.mark.parametrize("setup", SETUPS)
async def test_bids_of_an_auction(shop, setup):
    servers = shop(*SETUPS[setup])
    first, last = servers[0], servers[-1]
    pk = ask_database(first, "Auction.objects.create().pk")
    cookies = first.make_sessions("user", "editor")
    room = f"auction:{pk}"
    async with (
        connect(first, cookies["user"], kind=Listener) as bidder,
        connect(last, cookies["editor"], kind=Listener) as other,
    ):
        for each in (bidder, other):
            await each.ask("subscribe", {"room": room})

        reply = await bidder.ask("auction.bid", {"amount": "12.50"}, room=room)
        assert reply["type"] == "result"
        await eventually(lambda: other.of_type("auction.price") == [{"price": "12.50"}])

        reply = await bidder.ask("auction.bid", {"amount": "-1"}, room=room)
        assert (reply["type"], reply["payload"]["code"]) == ("error", "INVALID_PAYLOAD")
        assert reply["payload"]["path"] == "amount"

        reply = await bidder.ask("auction.bid", {"amount": 13}, room=room)
        assert reply["payload"]["code"] == "INTERNAL_ERROR"
        assert "unlucky" not in json.dumps(reply)
        assert (await bidder.ask("bids.count", pk))["payload"] == 1

        reply = await bidder.ask("auction.end", room=room)
        assert reply["payload"]["code"] == "FORBIDDEN"
        reply = await other.ask("auction.end", room=room)
        assert (reply["type"], reply["payload"]) == ("result", None)
        reply = await bidder.ask("auction.bid", {"amount": "20"}, room=room)
        assert reply["payload"]["code"] == "AUCTION_OVER"
        assert reply["payload"]["data"]["endedAt"]
        # This answer comes after all that a rolled-back command would have pushed.
        await other.ask("ping")
        assert other.of_type("auction.price") == [{"price": "12.50"}]
        assert bidder.of_type("auction.price") == [{"price": "12.50"}]
    assert sum(server.log.count("unlucky") for server in servers) >= 1


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
@pytest.mark.parametrize("how", ["sync", "async"])
async def test_slow_command_holds_up_nobody(shop, kind, how):
    (server,) = shop(kind)
    async with (
        connect(server, kind=Listener) as sleeper,
        connect(server, kind=Listener) as other,
    ):
        for each in (sleeper, other):
            await each.ask("quick.sync")
            await each.ask("quick.async")
        sleeping = asyncio.create_task(sleeper.ask(f"sleep.{how}", SLEEP_SECONDS))
        for _ in range(ROUNDS_WHILE_SLEEPING):
            for each in (sleeper, other):
                for type in ("ping", "quick.sync", "quick.async"):
                    assert (await each.ask(type))["type"] in ("pong", "result")
        assert not sleeping.done()
        assert (await sleeping)["payload"] == "awake"


async def step_through(servers, cut, *, clients, calls, at_once):
    """Calls of many clients on servers behind proxies, while ``cut(proxies)`` breaks wires."""
    async with contextlib.AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(Proxy(server.port)) for server in servers]
        rooms = ["steps:1", "steps:2"]
        options = {
            "calls": calls,
            "atOnce": at_once,
            "clients": [
                {
                    "name": f"client {number}",
                    "url": f"{proxies[number % len(proxies)].url}/api/ws",
                    "rooms": rooms,
                }
                for number in range(clients)
            ],
        }
        process = await asyncio.create_subprocess_exec(
            *(node(NODE_VERSION), SCRIPT, json.dumps(options)),
            stdout=asyncio.subprocess.PIPE,
        )
        cutting = asyncio.create_task(cut(proxies))
        try:
            out, _ = await process.communicate()
        finally:
            cutting.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    found = json.loads(out)
    expected = clients * calls * len(rooms)
    assert found["faults"] == []
    assert found["resolved"] == expected
    assert found["connections"] > clients
    fields = "'room', 'sender', 'number'"
    carried_out = ask_database(
        servers[0], f"list(map(list, Step.objects.order_by('pk').values_list({fields})))"
    )
    by_client = {}
    for room, sender, number in carried_out:
        by_client.setdefault((room, sender), []).append(number)
    assert len(carried_out) == expected
    assert all(numbers == list(range(calls)) for numbers in by_client.values())


async def cut_wires(proxies, rng, pause_seconds):
    """Break all wires at once, in turn with a time in which they carry nothing."""
    while True:
        await asyncio.sleep(pause_seconds * rng.uniform(0.5, 1.5))
        proxy = rng.choice(proxies)
        if rng.random() < 0.7:
            proxy.abort_connections()
        else:
            proxy.cut()
            await asyncio.sleep(pause_seconds / 4)
            proxy.abort_connections()
            proxy.restore()


async def test_commands_are_carried_out_once_although_wires_break(shop):
    rng = random.Random(1)
    await step_through(
        shop("uvicorn", environment=IMMEDIATE),
        lambda proxies: cut_wires(proxies, rng, 0.3),
        clients=4,
        calls=60,
        at_once=4,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_commands_over_two_processes(shop):
    seed = int(os.environ.get("TEST_CUTS_SEED", random.randrange(10**6)))
    print(f"TEST_CUTS_SEED={seed}")
    rng = random.Random(seed)
    await step_through(
        shop("uvicorn", "daphne", environment=IMMEDIATE),
        lambda proxies: cut_wires(proxies, rng, 1.0),
        clients=20,
        calls=250,
        at_once=5,
    )
