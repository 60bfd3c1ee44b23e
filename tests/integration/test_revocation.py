"""Whatever ends a right in one process ends connections in the others, for every session engine."""

import asyncio
import contextlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.causes import SETTINGS, SIGNALLED, SWEPT, Case, Site
from tests.integration.server import Server, layer_environment
from tests.sessions import ENGINES

#: Seconds within which what has ended has ended, on a machine that has much else to do. No sweep
#: comes as early but the one of the process that sweeps each second.
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
            environment = environment_of(engine, tmp_path, valkey.url)
            servers = [
                Server(
                    kind,
                    tmp_path,
                    {**SETTINGS, "SESSION_RECHECK_INTERVAL": interval},
                    environment=environment,
                )
                for kind, interval in kinds
            ]
            with ThreadPoolExecutor() as executor:
                list(executor.map(stack.enter_context, servers))
            return servers

        yield start


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


@pytest.mark.parametrize("engine", ENGINES)
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
