"""A command whose process is killed is carried out by another when it comes again."""

import contextlib
import sqlite3
import uuid

import pytest

from tests.integration.client import connect
from tests.integration.server import Server, layer_environment
from tests.support.helpers import eventually

pytestmark = pytest.mark.slow

APPLICATION = "tests.site.command_asgi:application"
ROOMS = {"open": {"public": True}}


def count_notes(server):
    with contextlib.closing(sqlite3.connect(server.database)) as database:
        return database.execute("SELECT count(*) FROM site_note").fetchone()[0]


async def test_command_of_a_killed_process_is_carried_out_within_its_timeout(tmp_path, valkey):
    environment = layer_environment("pubsub", valkey.url)
    with contextlib.ExitStack() as stack:
        doomed, other = [
            stack.enter_context(
                Server("uvicorn", tmp_path, {"ROOMS": ROOMS}, APPLICATION, environment)
            )
            for _ in range(2)
        ]
        command = {
            "payload": {"text": "x", "seconds": 1.0},
            "room": "open",
            "id": str(uuid.uuid4()),
        }
        async with connect(doomed) as client:
            await client.subscribe("open")
            await client.send("wait", **command)
            await eventually(lambda: count_notes(other) == 1)
            doomed.kill()
        async with connect(other) as client:
            await client.subscribe("open")
            for _ in range(2):  # Then it is known.
                reply = await client.ask("wait", **command)
                assert (reply["type"], reply["payload"]) == ("result", "x")
            assert count_notes(other) == 2
