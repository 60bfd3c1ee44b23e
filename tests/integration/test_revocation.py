"""A revocation in one process ends connections in the others, for every session engine."""

import asyncio
import contextlib
import json
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.cases import SETTINGS, Case, Site
from tests.integration.causes import SIGNALLED, SWEPT
from tests.integration.client import connect
from tests.integration.people import Browser, Socket
from tests.integration.server import Server, layer_environment
from tests.support.sessions import ENGINES

#: The first engine runs with the fast tests, the others with the slow ones.
SOME_SLOW = [ENGINES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in ENGINES[1:])]
#: Enough for a busy machine, and too short for a sweep of a process that sweeps rarely.
MAX_DELAY_SECONDS = 5
#: Values of SESSION_RECHECK_INTERVAL.
RARELY_SECONDS, OFTEN_SECONDS = 600, 1
#: The longest time by which an unreachable Redis delays one request.
MAX_REQUEST_DELAY_SECONDS = 3


@pytest.fixture
def start(tmp_path, valkey):
    """Start servers on one Valkey, database and session engine, all at once."""
    Server("uvicorn", tmp_path).migrate()
    with contextlib.ExitStack() as stack:

        def start(engine, *kinds, **settings):
            servers = [
                Server(
                    kind,
                    tmp_path,
                    {**SETTINGS, "SESSION_RECHECK_INTERVAL": interval},
                    environment={
                        **environment_of(engine, tmp_path, valkey.url, **settings),
                        # Django allows no ATOMIC_REQUESTS with async views.
                        **({"TEST_ATOMIC_REQUESTS": "1"} if kind == "gunicorn" else {}),
                    },
                )
                for kind, interval in kinds
            ]
            at_once(stack.enter_context, servers)
            return servers

        yield start


def at_once(step, servers):
    with ThreadPoolExecutor() as executor:
        list(executor.map(step, servers))


def environment_of(engine, folder, url, **settings):
    found = {
        "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}",
        "SESSION_FILE_PATH": str(folder),
        "CACHES": {
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
        },
        **settings,
    }
    return {**layer_environment("pubsub", url), "TEST_SETTINGS": json.dumps(found)}


@pytest.mark.parametrize("engine", SOME_SLOW)
async def test_each_cause_of_revocation_ends_connections(start, engine, record_property):
    rare = [(kind, RARELY_SECONDS) for kind in ("uvicorn", "daphne", "gunicorn")]
    site = Site(engine, *start(engine, *rare, ("uvicorn", OFTEN_SECONDS)))
    async with site.stack:
        failures = await run(site, SIGNALLED)
        failures += await run(site, [each for each in SWEPT if is_possible(engine, each)])
        failures += [socket.code for socket in site.staying if not await socket.is_alive()]
        for cause, outcome, seconds in sorted(site.rows, key=lambda row: row[2]):
            record_property(f"{cause}: {outcome}", f"{seconds:.3f}")
            print(f"{engine:15} {cause:30} {outcome:10} {seconds * 1000:7.0f} ms")
    assert failures == []
    assert [row for row in site.rows if row[2] > MAX_DELAY_SECONDS] == []
    assert [server.log for server in site.servers] == [""] * 4


async def run(site, causes):
    """Run all ``causes`` at once and return their failures."""
    ended = await asyncio.gather(
        *(cause(Case(site, cause)) for cause in causes), return_exceptions=True
    )
    return [
        f"{cause.__name__}: {error!r}" for cause, error in zip(causes, ended, strict=True) if error
    ]


def is_possible(engine, cause):
    return not (engine == "signed_cookies" and cause.__name__ == "lost_session")


# A new SECRET_KEY

OLD = {"SECRET_KEY": "the old one"}
NEW = {"SECRET_KEY": "the new one", "SECRET_KEY_FALLBACKS": ["the old one"]}


@pytest.mark.parametrize("engine", SOME_SLOW)
async def test_new_secret_key_with_a_fallback_ends_no_session(start, engine):
    """Users stay logged in. A request gives their session another key, except in a cookie."""
    near, office = start(engine, ("uvicorn", OFTEN_SECONDS), ("gunicorn", RARELY_SECONDS), **OLD)
    mine, other = Browser(), Browser()
    await mine.get(office, "make/", username="anna")
    for browser in (mine, other):
        await browser.get(office, "login/", username="anna")
    restart(near, office, **NEW)
    async with opened(near, mine) as socket, opened(near, other) as bystander:
        old_key = mine.key
        for _ in range(2):
            assert (await mine.get(office, "user/"))["name"] == "anna"
        assert mine.key != old_key
        async with opened(near, mine) as renewed:
            await swept(near, office)
            staying = {socket, bystander, renewed}
            if engine != "signed_cookies":
                staying.remove(socket)
                assert (await socket.ended())[0] == 4013
            for each in staying:
                assert each.user_id is not None
                assert await each.is_alive(), each.code
            await mine.get(office, "logout/")
            for each in staying - {bystander}:
                assert (await each.ended())[0] == 4501
        assert (await other.get(office, "user/"))["name"] == "anna"
        assert await bystander.is_alive()


async def test_connections_are_anonymous_without_the_old_secret_key(start):
    near, office = start("db", ("uvicorn", RARELY_SECONDS), ("gunicorn", RARELY_SECONDS), **OLD)
    browser = Browser()
    await browser.get(office, "make/", username="anna")
    await browser.get(office, "login/", username="anna")
    restart(near, office, SECRET_KEY="another")
    async with opened(near, browser) as socket:
        assert socket.user_id is None
    assert (await browser.get(office, "user/"))["name"] == ""


@pytest.mark.slow
async def test_clients_reconnect_while_processes_get_a_new_secret_key(start):
    """The process ``new`` knows both keys, ``old`` only the old one."""
    old, new = start("db", ("uvicorn", RARELY_SECONDS), ("uvicorn", RARELY_SECONDS), **OLD)
    restart(new, **NEW)
    mine, other = Browser(), Browser()
    await mine.get(old, "make/", username="anna")
    for browser in (mine, other):
        await browser.get(old, "login/", username="anna")
    async with opened(new, mine) as socket, opened(old, other) as other_socket:
        await mine.get(old, "password/")
        assert (await mine.get(old, "user/"))["name"] == "anna"
        assert (await other_socket.ended())[0] == 4501
        assert (await socket.ended())[0] == 4013
    async with opened(new, mine) as socket:
        assert await socket.is_alive(), socket.code
        await mine.get(old, "logout/")
        assert (await socket.ended())[0] == 4501
        await mine.get(old, "login/", username="anna", password="another password")
    async with opened(old, mine) as socket:
        assert (await mine.get(new, "user/"))["name"] == "anna"
        assert (await socket.ended())[0] == 4013
    async with opened(new, mine) as socket:
        assert socket.user_id is not None


async def swept(sweeping, office):
    """Wait until the sweep of a process has rechecked all its connections."""
    fence = Browser()
    await fence.get(office, "make/", username="fence")
    await fence.get(office, "login/", username="fence")
    async with opened(sweeping, fence) as socket:
        await Browser().get(office, "change/raw_deactivate/", user="fence")
        await socket.ended()


def opened(server, browser):
    return connect(server, browser.cookie, kind=Socket)


def restart(*servers, **settings):
    def restart_one(server):
        server.stop()
        found = {**json.loads(server.environment["TEST_SETTINGS"]), **settings}
        server.environment["TEST_SETTINGS"] = json.dumps(found)
        server.start()

    at_once(restart_one, servers)


# Outages of Redis


@contextlib.contextmanager
def killed(valkey):
    valkey.kill()
    yield
    valkey.start()


@contextlib.contextmanager
def frozen(valkey):
    with valkey.frozen():
        yield


@contextlib.contextmanager
def cut(valkey):
    """Cut the subscriptions of all processes; they miss the messages until they reconnect."""
    with valkey.client() as client:
        client.client_kill_filter(_type="pubsub")
    yield


@pytest.mark.parametrize(
    "outage", [cut, *(pytest.param(each, marks=pytest.mark.slow) for each in (killed, frozen))]
)
async def test_revocation_during_an_outage_takes_effect_after_it(start, valkey, outage):
    near, office = start("db", ("uvicorn", RARELY_SECONDS), ("gunicorn", RARELY_SECONDS))
    anonymous = Browser()
    users = {name: Browser() for name in ("out", "inactive", "demoted", "unlisted", "same")}
    for name, browser in users.items():
        await anonymous.get(office, "make/", username=name, group="editor")
        await anonymous.get(office, "change/permit/", user=name)
        await browser.get(office, "login/", username=name)
    async with contextlib.AsyncExitStack() as stack:
        sockets = {
            name: await stack.enter_async_context(opened(near, browser))
            for name, browser in users.items()
        }
        for socket in sockets.values():
            await socket.join("support")
            await socket.join("listed:1")
        with outage(valkey):
            began = time.monotonic()
            await users["out"].get(office, "logout/")
            await anonymous.get(office, "change/deactivate/", user="inactive")
            await anonymous.get(office, "change/clear/", user="demoted")
            with contextlib.suppress(urllib.error.HTTPError):
                await anonymous.get(office, "change/forbid_by_room/", user="unlisted")
            assert time.monotonic() - began < 4 * MAX_REQUEST_DELAY_SECONDS
        assert (await sockets["out"].ended())[0] == 4501
        assert (await sockets["inactive"].ended())[0] == 4504
        assert (await sockets["demoted"].left("support"))[0] == "forbidden"
        assert (await sockets["unlisted"].left("listed:1"))[0] == "forbidden"
        for name in ("demoted", "unlisted", "same"):
            assert await sockets[name].is_alive(), sockets[name].code
