"""The users of the ACL in docs/deployment.md may do all that the package does, and no more."""

import asyncio
import re
from pathlib import Path

import pytest

from pm_realtime import (
    aget_presence,
    aget_stats,
    asend_to_room,
    asend_to_user,
    get_stats,
    send_to_user,
)
from pm_realtime.backends.redis import scripts
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import CORE_LAYER, PUBSUB_LAYER
from pm_realtime.observability import outage
from tests.backends.redis.support import assert_pushes_arrive, until_heard_anew
from tests.support.helpers import Connection, errors_of, eventually
from tests.support.valkey import Valkey
from tests.test_docs import BLOCKS

LUA = Path(scripts.__file__).parent / "lua"
#: The commands of redis-py itself, and those of the package outside of scripts.
BY_THE_CLIENTS = {
    *("client|setinfo", "select", "ping", "evalsha", "script|load"),
    *("publish", "subscribe", "unsubscribe", "info"),
}


def rules(layer=PUBSUB_LAYER):
    """The rules of the documented user of ``layer``, and its name before them."""
    user, *found = BLOCKS["redis: acl"].split()
    assert user == "user"
    return found + (BLOCKS["redis: acl core"].split() if layer == CORE_LAYER else [])


def allowed(layer=PUBSUB_LAYER):
    return {rule[1:] for rule in rules(layer) if rule[0] == "+"}


def without(rule):
    return [each for each in rules() if each != rule]


def address(server, secret="secret"):
    return f"redis://realtime:{secret}@127.0.0.1:{server.port}/0"


@pytest.fixture
def site(settings, memory_layer, configure, tmp_path):
    """Start a site on a server with this ACL, also after restarts: ``site(acl, layer)``."""
    servers = []

    def site(acl=None, layer=PUBSUB_LAYER, **config):
        file = tmp_path / "users.acl"
        file.write_text(
            f"user default on nopass ~* &* +@all\nuser {' '.join(acl or rules(layer))}\n"
        )
        server = Valkey("--aclfile", str(file))
        servers.append(server)
        host = {"address": address(server), "socket_timeout": None}
        config = {"hosts": [host], **config}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": layer, "CONFIG": config}}
        configure(ROOMS={"hall": {"max_connections": 5, "public": True, "presence": True}})
        return server

    yield site
    for server in servers:
        server.kill()


def called(server):
    """The commands that the server carried out, those of scripts included."""
    with server.client() as admin:
        found = admin.info("commandstats")
    return {name.removeprefix("cmdstat_") for name in found}


# The rules and the code


def test_scripts_call_only_what_the_acl_allows():
    text = "".join(path.read_text() for path in LUA.glob("*.lua"))
    in_scripts = {name.lower() for name in re.findall(r"redis\.p?call\('(\w+)'", text)}
    assert text.count("redis.call(") == len(re.findall(r"redis\.call\('\w+'", text))
    assert in_scripts | BY_THE_CLIENTS == allowed()


def restart(server):
    server.kill()
    server.start()


def flush(server):
    with server.client() as admin:
        admin.flushall()


def forget_lease(server):
    """As after a pause that is longer than the lease; other nodes may have been alive."""
    with server.client() as admin:
        for key in admin.scan_iter("pm_realtime:*node:*"):
            admin.delete(key)


@pytest.mark.parametrize(
    ("layer", "lose"),
    [(PUBSUB_LAYER, restart), (CORE_LAYER, flush), (PUBSUB_LAYER, forget_lease)],
)
async def test_newcomers_are_let_in_after_a_loss_under_the_acl(site, user, layer, lose, caplog):
    server = site(layer=layer)
    async with Connection(user=user) as first:
        await first.subscribe("hall")
        lose(server)
        await until_heard_anew(10)
        async with Connection(user=user) as second:
            for connection in (first, second):
                await connection.subscribe("hall")
            await asend_to_user(user, "hello", {"n": 1})
            for connection in (first, second):
                await connection.assert_push("hello", {"n": 1})
            await assert_pushes_arrive(first, "hall")
            assert (await aget_stats())["roomStats"] == {"hall": 2}
            assert (await asyncio.to_thread(get_stats))["roomStats"] == {"hall": 2}
            assert (await aget_presence("hall")).members[0].connections == 2
            await second.ask("unsubscribe", {"room": "hall"})
    with server.client() as admin:
        assert admin.acl_log() == []
    assert "NOPERM" not in caplog.text


# The log, if something is forbidden


def refusals_in(caplog):
    return [line for line in caplog.messages if line.startswith("Redis refuses what ")]


@pytest.mark.parametrize(
    ("missing", "named"),
    [("+hset", "hset"), ("+pexpire", "pexpire"), ("~pm_realtime:*", "key")],
)
async def test_forbidden_command_of_a_script_is_named_in_the_log(site, missing, named, caplog):
    server = site()
    async with Connection():
        with server.client() as admin:
            admin.execute_command(
                "ACL", "SETUSER", "realtime", "resetkeys" if "~" in missing else f"-{missing[1:]}"
            )
        flush(server)
        outage.suspect()
        await eventually(lambda: "NOPERM" in caplog.text)
    lines = refusals_in(caplog)
    assert 1 <= len(lines) <= 2  # That of the state; if a key is forbidden, also that of streams.
    assert all(named in line.lower() and "docs/deployment.md" in line for line in lines)
    assert len(errors_of(caplog)) == len(lines) + 1  # The loss too, with the lease as its reason.


def test_forbidden_publish_of_a_thread_is_named(site, user, caplog):
    site(without("+publish"))
    with pytest.raises(BackendError, match=r"NOPERM: .*'publish'.*docs/deployment\.md"):
        send_to_user(user, "hello")
    assert "NOPERM" in caplog.text


@pytest.mark.parametrize("missing", ["+xadd", "+set", "+evalsha", "~pm_realtime:*"])
@pytest.mark.parametrize("layer", [PUBSUB_LAYER, CORE_LAYER])
async def test_push_that_may_not_be_kept_says_why(site, user, missing, layer, caplog):
    site([each for each in rules(layer) if each != missing], layer)
    named = "key" if "~" in missing else missing[1:]
    for push in (asend_to_user(user, "hello"), asyncio.to_thread(send_to_user, user, "hello")):
        with pytest.raises(BackendError, match=rf"NOPERM: .*{named}.*docs/deployment\.md"):
            await push
    assert "NOPERM" in caplog.text


@pytest.mark.parametrize("missing", ["+subscribe", "+publish", "&asgi*", "+evalsha", "+hincrby"])
async def test_refused_handshake_says_in_the_log_what_is_forbidden(site, missing, caplog):
    site(without(missing))
    connection = Connection()
    assert (await connection.connect())[0]
    await connection.assert_closed(4013)
    await eventually(lambda: "NOPERM" in caplog.text)
    assert missing[1:] in caplog.text.lower() or "channel" in caplog.text


@pytest.mark.parametrize(
    ("secret", "code"), [("realtime:wrong@", "WRONGPASS"), ("", "NOAUTH"), (":wrong@", "WRONGPASS")]
)
@pytest.mark.parametrize("layer", [PUBSUB_LAYER, CORE_LAYER])
@pytest.mark.usefixtures("memory_layer")
async def test_wrong_password_is_said_in_the_log(settings, layer, secret, code, caplog):
    server = Valkey("--requirepass", "right")
    try:
        host = f"redis://{secret}127.0.0.1:{server.port}/0"
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": layer, "CONFIG": {"hosts": [host]}}}
        with pytest.raises(BackendError, match=f"{code}: "):
            await asyncio.to_thread(send_to_user, 1, "hello")
        with pytest.raises(BackendError, match=f"{code}: "):
            await asend_to_room("hall", "hello")
        with pytest.raises(BackendError, match=f"{code}: "):
            await aget_stats()
        assert f"{code}: " in caplog.text
        assert "wrong@" not in caplog.text
    finally:
        server.kill()


async def test_password_that_changed_is_said_during_the_outage_that_it_causes(site, caplog):
    server = site()
    async with Connection():
        with server.client() as admin:
            admin.execute_command("ACL", "SETUSER", "realtime", "resetpass", ">another")
            admin.client_kill_filter(_type="normal", skipme=True)
            admin.client_kill_filter(_type="pubsub", skipme=True)
        await eventually(lambda: "WRONGPASS" in caplog.text)
    assert len(refusals_in(caplog)) <= 2  # The layer's and the state's.
