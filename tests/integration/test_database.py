"""Connections to the site's database are closed, and a restart of it ends no WebSocket."""

import asyncio
import contextlib
import json
import urllib.request
from pathlib import Path

import pytest
import websockets

from tests.integration.client import ANSWER_TIMEOUT_SECONDS, Listener, connect
from tests.support.helpers import eventually
from tests.support.postgres import Postgres

#: The package's threads for the database and Django's own. Each may keep a connection for
#: CONN_MAX_AGE seconds.
MAX_THREADS = 8 + 2 + 32 + 1
VISITORS_AT_ONCE = 40
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
    """Connect, join a room whose rule queries the database, and close or abort the connection."""
    async with connect(server, cookie) as client:
        room = ("sync", "async")[index % 2]
        assert (await client.subscribe(room))["type"] == "subscribed"
        if index % 3 == 0:
            client.socket.transport.abort()


async def visit_often(server, cookies, count):
    cookies = list(cookies.values())
    for start in range(0, count, VISITORS_AT_ONCE):
        numbers = range(start, start + VISITORS_AT_ONCE)
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
    await until_no_connection_is_counted(server)

    def count():
        """Count the descriptors with which the process has the file open."""
        found = Path(f"/proc/{server.process.pid}/fd").iterdir()
        return sum(read_link(each) == str(path) for each in found)

    await eventually(lambda: count() <= (MAX_THREADS if max_age else 0))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("max_age", [0, 600])
async def test_a_thousand_connects_leave_no_connection_to_postgres(serve, postgres, max_age):
    settings = postgres.settings(CONN_MAX_AGE=max_age)
    server = serve("uvicorn", databases(settings), ROOMS=ROOMS, MAX_CONNECTIONS_PER_USER=100)
    cookies = server.make_sessions("user", "editor")
    await visit_often(server, cookies, 1000)
    await until_no_connection_is_counted(server)
    await eventually(lambda: postgres.count_connections() <= (MAX_THREADS if max_age else 0))


async def test_restart_of_the_database_ends_only_revoked_connections(serve, postgres):
    server = serve(
        "uvicorn",
        databases(postgres.settings(CONN_MAX_AGE=600)),
        ROOMS=ROOMS,
        MAX_CONNECTIONS_PER_USER=100,
        SESSION_RECHECK_INTERVAL=0.5,
    )
    cookies = server.make_sessions("user", "editor", "admin")
    async with contextlib.AsyncExitStack() as stack:

        async def join_all(role):
            entering = connect(server, cookies[role], kind=Listener)
            listener = await stack.enter_async_context(entering)
            for room in ROOMS:
                assert (await listener.ask("subscribe", {"room": room}))["type"] == "subscribed"
            return listener

        members = await asyncio.gather(*(join_all("user") for _ in range(VISITORS_AT_ONCE)))
        deleted, logged_out = await join_all("editor"), await join_all("admin")
        assert postgres.count_connections() > 8

        postgres.kill()
        await eventually(lambda: "could not be rechecked" in server.log)
        async with websockets.connect(
            server.ws_url, additional_headers={"Cookie": cookies["user"]}
        ) as socket:
            await socket.wait_closed()
            assert socket.close_code == 4013
        assert all(await asyncio.gather(*map(is_alive, members)))
        postgres.start()

        # The connections that the threads kept are broken.
        members += await asyncio.gather(*(join_all("user") for _ in range(VISITORS_AT_ONCE)))
        assert (await server.aget("/accounts/rename/?user=user&name=New")).status == 200
        # All were rechecked and are still in their rooms.
        for listener in members:
            await until_sender_is(listener, "New")

        key = cookies["editor"].partition("=")[2]
        postgres.query("DELETE FROM django_session WHERE session_key = %s", key)
        assert await close_code(deleted) == 4501
        assert await asyncio.to_thread(log_out, server, cookies["admin"]) == 200
        assert await close_code(logged_out) == 4501
        assert all(await asyncio.gather(*map(is_alive, members)))
        assert [each.of_type("unsubscribed") for each in members] == [[]] * len(members)
    assert server.log.count("could not be rechecked") == 1


async def is_alive(listener):
    return (await listener.ask("ping"))["type"] == "pong"


async def until_sender_is(listener, name):
    """Wait until messages of ``listener`` are from a user with that name."""
    sender = None
    async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
        while sender != name:
            message = await listener.ask("message", {"room": "sync", "content": 1})
            sender = message["payload"]["from"]["name"]


async def close_code(listener):
    await eventually(lambda: not listener.is_open)
    return listener.socket.close_code


def log_out(server, cookie):
    request = urllib.request.Request(server.url + "/accounts/logout/", headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_SECONDS) as found:
        return found.status


def read_link(path):
    """Return the file of a descriptor, or "" if it has been closed."""
    with contextlib.suppress(OSError):
        return str(path.readlink())
    return ""


async def until_no_connection_is_counted(server):
    async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
        while (await server.aget("/stats/")).json()["totalConnections"]:
            await asyncio.sleep(0.1)
