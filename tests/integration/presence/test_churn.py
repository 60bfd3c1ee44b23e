"""Members of rooms, while pages and processes come and go at random."""

import asyncio
import os
import random
import time

import pytest

from tests.integration.presence.churn import Churn
from tests.integration.presence.run import Run

GRACE_SECONDS = 3
#: Members of the one are users, of the other pages.
ROOMS = {
    "lobby": {"grace": GRACE_SECONDS, "max": 300},
    "desk": {"grace": 2, "per": "connection", "max": 300},
}
#: Longer than the lease of a process.
FROZEN_SECONDS = 20


@pytest.mark.load
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_pictures_are_right_whatever_comes_and_goes(tmp_path, valkey):
    """In the seconds that it takes by default, there are the first three faults."""
    seconds = float(os.environ.get("TEST_PRESENCE_SECONDS", "75"))
    seed = int(os.environ.get("TEST_PRESENCE_SEED", random.randrange(10**6)))
    print(f"TEST_PRESENCE_SEED={seed}")
    rng = random.Random(seed)
    kinds = ("uvicorn", "uvicorn", "daphne")
    async with Run(tmp_path, valkey.url, rooms=ROOMS, users=50, kinds=kinds) as run:
        await run.start_clients(run.users[-3:])
        churn = Churn(run, rng, run.users[:-3], grace=GRACE_SECONDS)
        deadline = time.monotonic() + seconds
        faults = [
            lambda: churn.kill(run.servers[0]),
            lambda: churn.freeze(run.servers[1], FROZEN_SECONDS),
            churn.cut,
            lambda: churn.stop_process(run.servers[2]),
            churn.stall,
        ]
        while time.monotonic() < deadline:
            await churn.start()
            await asyncio.sleep(10)
            if faults:
                await faults.pop(0)()
                await asyncio.sleep(5)
            await churn.stop()
            print(f"all right after {await run.until_quiet():.2f} s; {run.summary()}")
            await run.check(churn.may_lack)
        print(dict(churn.acts))


@pytest.mark.parametrize(
    ("kinds", "layer"),
    [
        pytest.param(("uvicorn",), "", id="one", marks=pytest.mark.slow),
        pytest.param(("uvicorn", "daphne"), "pubsub", id="two"),
        pytest.param(("uvicorn", "daphne"), "core", id="core", marks=pytest.mark.slow),
    ],
)
async def test_pictures_are_right_while_pages_come_and_go(
    tmp_path, memory_layer, request, kinds, layer
):
    """The long run in short."""
    url = request.getfixturevalue("valkey").url if layer else None
    rooms = {room: {**options, "grace": 0.5} for room, options in ROOMS.items()}
    async with Run(tmp_path, url, rooms=rooms, users=8, kinds=kinds, layer=layer) as run:
        await run.start_clients(run.users[-1:])
        options = {"grace": 0.5, "pages": 3, "visitors": 1, "goes": False, "pause": (0.1, 1)}
        churn = Churn(run, random.Random(1), run.users[:-1], **options)
        await churn.start()
        await asyncio.sleep(1.5)
        await churn.stop()
        await run.until_quiet()
        await run.check()
