"""Whatever ends a right in one process ends connections in the others, for every session engine."""

import asyncio
import contextlib
import json
import shutil
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.causes import SETTINGS, SIGNALLED, SWEPT, Case, Site
from tests.integration.client import connect
from tests.integration.people import Browser, Socket
from tests.integration.server import Server, layer_environment
from tests.support.sessions import ENGINES

#: Seconds within which what has ended has ended, on a machine that has much else to do. No sweep
#: comes as early but the one of the process that sweeps each second.
#: One of them with the other tests, the rest with those that take minutes.
SOME_SLOW = [ENGINES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in ENGINES[1:])]
PROMPT = 5
RARELY, OFTEN = 600, 1


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """A database with all its tables, to be copied."""
    server = Server("uvicorn", tmp_path_factory.mktemp("migrated"))
    server.manage("migrate", "--verbosity=0")
    return server.database


@pytest.fixture
def start(tmp_path, valkey, migrated):
    """Start servers at once on one Valkey, database and session engine."""
    shutil.copy(migrated, tmp_path / "site.sqlite3")
    with contextlib.ExitStack() as stack:

        def start(engine, *kinds, **settings):
            servers = [
                Server(
                    kind,
                    tmp_path,
                    {**SETTINGS, "SESSION_RECHECK_INTERVAL": interval},
                    environment={
                        **environment_of(engine, tmp_path, valkey.url, **settings),
                        # Which no site can have whose views are async.
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
async def test_what_ends_a_right_ends_connections(start, engine, record_property):
    kinds = [("uvicorn", RARELY), ("daphne", RARELY), ("gunicorn", RARELY), ("uvicorn", OFTEN)]
    site = Site(engine, *start(engine, *kinds))
    async with site.stack:
        faults = await run(site, SIGNALLED)
        faults += await run(site, [each for each in SWEPT if can_happen(engine, each)])
        faults += [socket.code for socket in site.staying if not await socket.is_alive()]
        for cause, outcome, seconds in sorted(site.rows, key=lambda row: row[2]):
            record_property(f"{cause}: {outcome}", f"{seconds:.3f}")
            print(f"{engine:15} {cause:30} {outcome:10} {seconds * 1000:7.0f} ms")
    assert faults == []
    assert [row for row in site.rows if row[2] > PROMPT] == []
    assert [server.log for server in site.servers] == [""] * 4


async def run(site, causes):
    """Let all ``causes`` happen; what went wrong."""
    ended = await asyncio.gather(
        *(cause(Case(site, cause)) for cause in causes), return_exceptions=True
    )
    return [
        f"{cause.__name__}: {error!r}" for cause, error in zip(causes, ended, strict=True) if error
    ]


def can_happen(engine, cause):
    return not (engine == "signed_cookies" and cause.__name__ == "lost_session")


# A new SECRET_KEY

OLD = {"SECRET_KEY": "the old one"}
NEW = {"SECRET_KEY": "the new one", "SECRET_KEY_FALLBACKS": ["the old one"]}


@pytest.mark.parametrize("engine", SOME_SLOW)
async def test_a_new_secret_key_ends_nothing(start, engine):
    """Users stay logged in. A request gives their session another key, except in a cookie."""
    near, office = start(engine, ("uvicorn", OFTEN), ("gunicorn", RARELY), **OLD)
    mine, other = Browser(), Browser()
    await mine.get(office, "make/", username="somebody")
    for browser in (mine, other):
        await browser.get(office, "login/", username="somebody")
    restart(near, office, **NEW)
    async with opened(near, mine) as socket, opened(near, other) as bystander:
        old_key = mine.key
        for _ in range(2):
            assert (await mine.get(office, "who/"))["name"] == "somebody"
        assert mine.key != old_key
        async with opened(near, mine) as renewed:
            await swept(near, office)
            stay = {socket, bystander, renewed}
            if engine != "signed_cookies":
                stay.remove(socket)
                assert (await socket.ended())[0] == 4013
            for each in stay:
                assert each.user_id is not None
                assert await each.is_alive(), each.code
            await mine.get(office, "logout/")
            for each in stay - {bystander}:
                assert (await each.ended())[0] == 4501
        assert (await other.get(office, "who/"))["name"] == "somebody"
        assert await bystander.is_alive()


async def test_without_the_old_secret_key_nobody_is_known(start):
    near, office = start("db", ("uvicorn", RARELY), ("gunicorn", RARELY), **OLD)
    browser = Browser()
    await browser.get(office, "make/", username="somebody")
    await browser.get(office, "login/", username="somebody")
    restart(near, office, SECRET_KEY="another")
    async with opened(near, browser) as socket:
        assert socket.user_id is None
    assert (await browser.get(office, "who/"))["name"] == ""


@pytest.mark.slow
async def test_a_new_secret_key_goes_round(start):
    """One process has it already, which the other has as a fallback or does not know at all."""
    old, new = start("db", ("uvicorn", RARELY), ("uvicorn", RARELY), **OLD)
    restart(new, **NEW)
    mine, other = Browser(), Browser()
    await mine.get(old, "make/", username="somebody")
    for browser in (mine, other):
        await browser.get(old, "login/", username="somebody")
    async with opened(new, mine) as first, opened(old, other) as ends:
        await mine.get(old, "password/")
        assert (await mine.get(old, "who/"))["name"] == "somebody"
        assert (await ends.ended())[0] == 4501
        assert (await first.ended())[0] == 4013
    async with opened(new, mine) as again:
        assert await again.is_alive(), again.code
        await mine.get(old, "logout/")
        assert (await again.ended())[0] == 4501
        await mine.get(old, "login/", username="somebody", password="another password")
    async with opened(old, mine) as first:
        assert (await mine.get(new, "who/"))["name"] == "somebody"
        assert (await first.ended())[0] == 4013
    async with opened(new, mine) as again:
        assert again.user_id is not None


async def swept(sweeping, office):
    """Return when the sweep of a process has looked at everybody."""
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


# Redis is away

#: Seconds that a request may take on because Redis does not answer it.
WAIT = 3


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
    """Whoever hears of others hears nothing for a moment, and nobody else is told."""
    with valkey.client() as client:
        client.client_kill_filter(_type="pubsub")
    yield


@pytest.mark.parametrize(
    "strike", [cut, *(pytest.param(each, marks=pytest.mark.slow) for each in (killed, frozen))]
)
async def test_what_ends_a_right_while_nobody_hears_is_found_soon_after(start, valkey, strike):
    near, office = start("db", ("uvicorn", RARELY), ("gunicorn", RARELY))
    nobody = Browser()
    people = {name: Browser() for name in ("out", "inactive", "demoted", "unlisted", "same")}
    for name, browser in people.items():
        await nobody.get(office, "make/", username=name, group="editor")
        await nobody.get(office, "change/permit/", user=name)
        await browser.get(office, "login/", username=name)
    async with contextlib.AsyncExitStack() as stack:
        sockets = {
            name: await stack.enter_async_context(opened(near, browser))
            for name, browser in people.items()
        }
        for socket in sockets.values():
            await socket.join("support")
            await socket.join("listed:1")
        with strike(valkey):
            began = time.monotonic()
            await people["out"].get(office, "logout/")
            await nobody.get(office, "change/deactivate/", user="inactive")
            await nobody.get(office, "change/clear/", user="demoted")
            with contextlib.suppress(urllib.error.HTTPError):
                await nobody.get(office, "change/forbid_by_room/", user="unlisted")
            assert time.monotonic() - began < 4 * WAIT
        assert (await sockets["out"].ended())[0] == 4501
        assert (await sockets["inactive"].ended())[0] == 4504
        assert (await sockets["demoted"].left("support"))[0] == "forbidden"
        assert (await sockets["unlisted"].left("listed:1"))[0] == "forbidden"
        for name in ("demoted", "unlisted", "same"):
            assert await sockets[name].is_alive(), sockets[name].code
