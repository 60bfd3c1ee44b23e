"""The site's database: connections to it are given back, and it may restart."""

import asyncio
import contextlib
import json
import urllib.request
from pathlib import Path

import pytest
import websockets

from tests.integration.client import TIMEOUT, Listener, connect
from tests.support.helpers import eventually
from tests.support.postgres import Postgres

#: Our threads for the database, each of which may keep a connection under CONN_MAX_AGE, and
#: Django's own.
THREADS = 8 + 2 + 32 + 1
ROOMS = {
    "sync": {"authorize": "tests.site.rules.is_known"},
    "async": {"authorize": "tests.site.rules.is_known_async"},
}


@pytest.fixture
def postgres():
    server = Postgres()
    yield server
    server.stop()


def databases(settings):
    return {"TEST_DATABASES": json.dumps(settings)}


async def visit(server, cookie, index):
    """Connect, join a room by whose rule the database is asked, and leave, politely or not."""
    async with connect(server, cookie) as client:
        room = ("sync", "async")[index % 2]
        assert (await client.subscribe(room))["type"] == "subscribed"
        if index % 3 == 0:
            client.socket.transport.abort()


async def visit_often(server, cookies, count, at_once=40):
    cookies = list(cookies.values())
    for start in range(0, count, at_once):
        numbers = range(start, start + at_once)
        await asyncio.gather(
            *(visit(server, cookies[number % len(cookies)], number) for number in numbers)
        )


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("max_age", [0, 600])
async def test_a_thousand_connects_leave_no_connection_to_sqlite(serve, tmp_path, max_age):
    path = tmp_path / "other.sqlite3"
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "CONN_MAX_AGE": max_age}
    settings["OPTIONS"] = {"timeout": 20, "init_command": "PRAGMA synchronous=OFF"}
    server = serve(
        "uvicorn", databases({"default": settings}), ROOMS=ROOMS, MAX_CONNECTIONS_PER_USER=100
    )
    cookies = server.make_sessions("user", "editor")
    await visit_often(server, cookies, 1000)
    await until_gone(server)

    def count():
        """The descriptors under which the process has the file open."""
        found = Path(f"/proc/{server.process.pid}/fd").iterdir()
        return sum(read_link(each) == str(path) for each in found)

    await eventually(lambda: count() <= (THREADS if max_age else 0))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("max_age", [0, 600])
async def test_a_thousand_connects_leave_no_connection_to_postgres(serve, postgres, max_age):
    settings = postgres.settings(CONN_MAX_AGE=max_age)
    server = serve("uvicorn", databases(settings), ROOMS=ROOMS, MAX_CONNECTIONS_PER_USER=100)
    cookies = server.make_sessions("user", "editor")
    await visit_often(server, cookies, 1000)
    await until_gone(server)
    await eventually(lambda: postgres.count_connections() <= (THREADS if max_age else 0))


async def test_a_database_that_restarts_costs_no_honest_client_anything(serve, postgres):
    server = serve(
        "uvicorn",
        databases(postgres.settings(CONN_MAX_AGE=600)),
        ROOMS=ROOMS,
        MAX_CONNECTIONS_PER_USER=100,
        SESSION_RECHECK_INTERVAL=0.5,
    )
    cookies = server.make_sessions("user", "editor", "admin")
    async with contextlib.AsyncExitStack() as stack:

        async def come(role):
            entering = connect(server, cookies[role], kind=Listener)
            listener = await stack.enter_async_context(entering)
            for room in ROOMS:
                assert (await listener.ask("subscribe", {"room": room}))["type"] == "subscribed"
            return listener

        honest = await asyncio.gather(*(come("user") for _ in range(40)))
        deleted, leaver = await come("editor"), await come("admin")
        assert postgres.count_connections() > 8

        postgres.kill()
        await eventually(lambda: "could not be rechecked" in server.log)
        async with websockets.connect(
            server.ws_url, additional_headers={"Cookie": cookies["user"]}
        ) as socket:
            await socket.wait_closed()
            assert socket.close_code == 4013
        assert all(await asyncio.gather(*map(is_alive, honest)))
        postgres.start()

        # Each thread that kept a connection finds it cut.
        honest += await asyncio.gather(*(come("user") for _ in range(40)))
        assert (await server.aget("/accounts/rename/?user=user&name=New")).status == 200
        # Once all of them have been looked at again, they are still where they were.
        for listener in honest:
            await eventually_says(listener, "New")

        key = cookies["editor"].partition("=")[2]
        postgres.query("DELETE FROM django_session WHERE session_key = %s", key)
        assert await close_code(deleted) == 4501
        assert await asyncio.to_thread(log_out, server, cookies["admin"]) == 200
        assert await close_code(leaver) == 4501
        assert all(await asyncio.gather(*map(is_alive, honest)))
        assert [each.of_type("unsubscribed") for each in honest] == [[]] * len(honest)
    assert server.log.count("could not be rechecked") == 1


async def is_alive(listener):
    return (await listener.ask("ping"))["type"] == "pong"


async def eventually_says(listener, name):
    """Return once what ``listener`` says in a room comes from somebody of that name."""
    async with asyncio.timeout(TIMEOUT):
        while (await listener.ask("message", {"room": "sync", "content": 1}))["payload"]["from"][
            "name"
        ] != name:
            pass


async def close_code(listener):
    await eventually(lambda: not listener.is_open)
    return listener.socket.close_code


def log_out(server, cookie):
    request = urllib.request.Request(server.url + "/accounts/logout/", headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=20) as found:
        return found.status


def read_link(path):
    """Where a descriptor leads; "" where it has been closed."""
    with contextlib.suppress(OSError):
        return str(path.readlink())
    return ""


async def until_gone(server):
    async def count():
        return (await server.aget("/stats/")).json()["totalConnections"]

    async with asyncio.timeout(20):
        while await count():
            await asyncio.sleep(0.1)
