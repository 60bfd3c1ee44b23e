"""The contract of recovery with real servers. The fake server of the npm package keeps it too."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.node import node, run

SCRIPT = Path(__file__).with_name("recovery_contract.mjs")
#: The first Node that has ``WebSocket``.
NODE_VERSION = 22
ROOMS = {"contract:<int:number>": {"public": True, "publish_role": "anonymous"}}


@pytest.mark.parametrize("kind", ["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
async def test_real_server_keeps_the_contract(serve, kind):
    server = serve(kind, ROOMS=ROOMS)
    user = await server.aget("/sign-in/anna/")
    cookie = user.headers["Set-Cookie"].partition(";")[0]
    options = {
        "url": server.url,
        "webSocketUrl": server.ws_url,
        "cookie": cookie,
        "user": user.body,
    }
    done = await asyncio.to_thread(run, node(NODE_VERSION), SCRIPT, json.dumps(options))
    assert done.returncode == 0, done.stdout
