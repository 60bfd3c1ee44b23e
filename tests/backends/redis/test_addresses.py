"""Every kind of address that channels-redis accepts, with real servers behind it."""

import asyncio
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from redis.asyncio.connection import SSLConnection, parse_url

from pm_realtime import aget_stats, send_to_room
from pm_realtime.backends.redis import RedisBackend
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import CORE_LAYER, PUBSUB_LAYER, adapter_for, get_layer, sending
from pm_realtime.layer.adapter import LAYER_CALL_TIMEOUT_SECONDS
from pm_realtime.redis import driver_for_asyncio, driver_for_threads, open_pools
from tests.backends.redis.support import assert_pushes_arrive, until_heard_anew
from tests.contracts.backend import add_all, ids_of, info
from tests.support.helpers import Connection
from tests.support.tls import Certificates, TlsProxy
from tests.support.valkey import Sentinel, Valkey

SECRET = "s3cret: p@ss/wörd%41"
#: redis-py before 8.1 decodes an option of a URL twice.
DECODES_ONCE = parse_url("redis://localhost?client_name=%2541")["client_name"] == "%41"
#: The least that a site must allow the user of its Redis.
RIGHTS = ("resetchannels", "~pm_realtime:{asgi[:}]*", "~asgi*", "&asgi*", "+@all", "-@admin")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """One server that can be reached in every way."""
    folder = tmp_path_factory.mktemp("servers")
    path = folder / "valkey.sock"
    ann = ("--user", "ann", "on", f">{SECRET}", *RIGHTS)
    server = Valkey("--requirepass", SECRET, "--unixsocket", str(path), *ann)
    secret = f'sentinel auth-pass main "{SECRET}"'
    sentinel = Sentinel(server, secret, f'requirepass "{SECRET}"')
    certificates = Certificates(folder)
    tls = TlsProxy(certificates.server_context(), server.port)
    yield SimpleNamespace(
        port=server.port,
        path=path,
        sentinel=("127.0.0.1", sentinel.port),
        tls=tls.port,
        authority=certificates.authority,
        signed=certificates.signed,
        password=quote(SECRET, safe=""),
        option=quote(SECRET if DECODES_ONCE else quote(SECRET, safe=""), safe=""),
        server=server,
    )
    tls.close()
    sentinel.kill()
    server.kill()


@pytest.fixture
def server(servers):
    """The servers, empty."""
    with servers.server.client(password=SECRET) as client:
        client.flushall()
    return servers


URLS = {
    "a URL with a password": "redis://:{s.password}@127.0.0.1:{s.port}",
    "a URL with a database": "redis://:{s.password}@127.0.0.1:{s.port}/3",
    "a URL with its database as an option": "redis://:{s.password}@127.0.0.1:{s.port}?db=3",
    "a URL with a user": "redis://ann:{s.password}@127.0.0.1:{s.port}/0",
    "TLS": "rediss://:{s.password}@localhost:{s.tls}/0?ssl_ca_certs={s.authority}",
    "TLS with a certificate of the client": (
        "rediss://ann:{s.password}@127.0.0.1:{s.tls}?ssl_ca_certs={s.authority}"
        "&ssl_certfile={s.signed}&ssl_keyfile={s.signed}&ssl_check_hostname=yes"
    ),
    "TLS unproved": "rediss://:{s.password}@localhost:{s.tls}?ssl_cert_reqs=none",
    "a socket": "unix://:{s.password}@{s.path}",
    "a socket with a user and a database": "unix://ann:{s.password}@{s.path}?db=2",
    "a socket with its password as an option": "unix://{s.path}?password={s.option}",
}

DICTS = {
    "a URL and options": lambda s: {
        "address": f"redis://127.0.0.1:{s.port}",
        "password": SECRET,
        "db": 4,
        "socket_keepalive": True,
    },
    "TLS and options": lambda s: {
        "address": f"rediss://:{s.password}@localhost:{s.tls}",
        "ssl_ca_certs": str(s.authority),
    },
    "TLS unproved, as Heroku's": lambda s: {
        "address": f"rediss://:{s.password}@127.0.0.1:{s.tls}",
        "ssl_cert_reqs": None,
    },
    "TLS by a class of redis-py": lambda s: {
        "host": "localhost",
        "port": s.tls,
        "password": SECRET,
        "connection_class": SSLConnection,
        "ssl_ca_certs": str(s.authority),
    },
    "a socket and options": lambda s: {"address": f"unix://{s.path}", "password": SECRET},
    "host and port": lambda s: {
        "host": "127.0.0.1",
        "port": s.port,
        "username": "ann",
        "password": SECRET,
        "db": 1,
    },
    "Sentinel": lambda s: {
        "sentinels": [s.sentinel],
        "master_name": "main",
        "sentinel_kwargs": {"password": SECRET},
        "password": SECRET,
        "db": 5,
    },
}

FORMS = {
    **{name: lambda s, url=url: url.format(s=s) for name, url in URLS.items()},
    **DICTS,
}


async def assert_all_count(room, backend):
    """Two processes, as it were, see each other's connections."""
    await backend.add(info("other"), limit=5, policy="refuse")
    await backend.join("other", room, capacity=2)
    expected = {
        "totalConnections": 2,
        "authenticatedConnections": 1,
        "totalRooms": 1,
        "roomStats": {room: 2},
    }
    assert await backend.get_stats() == expected
    assert await aget_stats() == expected
    assert await asyncio.to_thread(lambda: backend.run(backend.get_stats())) == expected
    await backend.remove("other")


@pytest.mark.parametrize("layer", [PUBSUB_LAYER, CORE_LAYER])
@pytest.mark.parametrize("form", FORMS)
async def test_host_of_the_layer_carries_pushes_and_counts(server, use, layer, form, caplog):
    use(layer, FORMS[form](server))
    async with Connection() as connection:
        await connection.subscribe("room")
        await until_heard_anew()
        await assert_pushes_arrive(connection, "room")
        await assert_all_count("room", RedisBackend())
    publishes = layer == PUBSUB_LAYER and "class of redis-py" not in form
    assert (adapter_for(get_layer()).publisher() is not None) is publishes
    assert caplog.records == []


@pytest.mark.parametrize("form", URLS)
async def test_location_carries_counts(server, settings, form):
    url = FORMS[form](server)
    settings.CHANNEL_LAYERS = {}
    settings.PM_REALTIME = {"LOCATION": url}
    first, second = RedisBackend(), RedisBackend()
    await add_all(first, "a")
    await add_all(second, "b")
    assert await second.join("b", "room", capacity=1) is True
    assert await first.join("a", "room", capacity=1) is False
    for backend in (first, second):
        assert await ids_of(backend) == ["a", "b"]
        assert (await backend.get_stats())["roomStats"] == {"room": 1}
    await first.remove("a")
    await second.remove("b")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:wrong@127.0.0.1:{s.port}",
        "rediss://:wrong@localhost:{s.tls}?ssl_ca_certs={s.authority}",
        "rediss://:{s.password}@localhost:{s.tls}",  # An authority that nobody knows.
        "unix://:wrong@{s.path}",
        "unix://:{s.password}@{s.path}.not",
    ],
)
async def test_error_never_shows_the_password(server, settings, url):
    settings.PM_REALTIME = {"LOCATION": url.format(s=server)}
    with pytest.raises(BackendError) as caught:
        await RedisBackend().get_stats()
    for secret in (SECRET, server.password, "wrong@"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize("driver", [driver_for_threads, driver_for_asyncio])
def test_master_of_a_sentinel_is_reached_over_tls(driver):
    host = {"sentinels": [("127.0.0.1", 1)], "master_name": "main", "ssl": True}
    pool, _ = open_pools(host, LAYER_CALL_TIMEOUT_SECONDS, driver)
    connection = pool.make_connection()
    assert isinstance(connection, driver.ConnectionPool().connection_class)
    assert type(connection).__name__ == "SentinelManagedSSLConnection"


async def test_silent_sentinel_leaves_time_for_the_others(server, use):
    silent = Sentinel(server.server)
    host = DICTS["Sentinel"](server)
    try:
        with silent.frozen():
            use(PUBSUB_LAYER, {**host, "sentinels": [("127.0.0.1", silent.port), server.sentinel]})
            backend = RedisBackend()
            await add_all(backend, "a")
            assert await ids_of(backend) == ["a"]
            await asyncio.to_thread(send_to_room, "room", "hello")
            await backend.remove("a")
    finally:
        silent.kill()


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (("127.0.0.1", "abc"), "'abc'"),
        ({"host": "127.0.0.1", "bogus": 1, "password": SECRET}, "'bogus'"),
        ({"host": 5, "password": SECRET}, "5:6379"),
        (6379, "6379"),
        ("nonsense", "'nonsense'"),
    ],
    ids=str,
)
def test_push_of_a_thread_to_a_wrong_host_raises_backend_error(use, host, found):
    use(PUBSUB_LAYER, host)
    try:
        with pytest.raises(BackendError) as caught:
            send_to_room("room", "hello")
    finally:
        sending.forget()
    assert found in str(caught.value)
    assert SECRET not in str(caught.value)
