"""SIGTERM while commands of the site run, on real servers."""

import asyncio
import signal

import pytest

from tests.integration.client import Listener, connect
from tests.integration.server import Server

RESTARTING = 4012
SLEEP_SECONDS = 1.5
END_TIMEOUT_SECONDS = 20


@pytest.mark.parametrize("kind", ["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
async def test_process_that_stops_answers_the_commands_that_run(tmp_path, kind):
    environment = {"DJANGO_SETTINGS_MODULE": "tests.shop.settings"}
    application = "tests.shop.asgi:application"
    with Server(kind, tmp_path, {}, application, environment) as server:
        async with (
            connect(server, kind=Listener) as client,
            connect(server, kind=Listener) as idle,
        ):
            await client.ask("quick.sync")
            asked = [
                asyncio.create_task(client.ask(f"sleep.{how}", SLEEP_SECONDS))
                for how in ("sync", "async")
            ]
            await client.ask("ping")
            server.process.send_signal(signal.SIGTERM)
            assert await idle.closed() == RESTARTING
            assert not any(each.done() for each in asked)
            assert [(await each)["payload"] for each in asked] == ["awake", "awake"]
            assert await client.closed() == RESTARTING
            assert await asyncio.to_thread(server.process.wait, END_TIMEOUT_SECONDS) == 0
        assert server.log == ""
