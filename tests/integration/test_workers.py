"""Pushes from processes without sockets: WSGI, threads, forks and short-lived event loops."""

import asyncio
from pathlib import Path

import pytest
import redis

from tests.integration.client import Listener, connect
from tests.site.timing import THREAD_COUNT
from tests.support.helpers import eventually

pytestmark = pytest.mark.slow

PUSH_COUNT = 10_000
JOBS = ("forks", "forks_beside_threads", "loops", "pool", "prefork")
#: The queue of RedisChannelLayer must hold all pushes of a test.
CONFIG = {"pubsub": {}, "core": {"capacity": 2 * PUSH_COUNT}}
POLL_SECONDS = 0.02


@pytest.mark.parametrize(
    ("layer", "times_faster", "connections"),
    # Over core, a push is a script and a call of the layer, which has connections of its own.
    [("pubsub", 5, 8), pytest.param("core", 2, 12, marks=pytest.mark.slow)],
)
async def test_ten_thousand_pushes_from_threads_are_fast_over_few_connections(
    cluster, valkey, layer, times_faster, connections
):
    server, wsgi = cluster("uvicorn", "gunicorn", layer=layer, config=CONFIG[layer])
    async with connect(server, kind=Listener) as listener:
        pid = (await wsgi.aget("/time/send/?count=1")).json()["pid"]
        await listener.ask("subscribe", {"room": "open"})
        theirs = [await median_of_the_layer(wsgi)]
        count = PUSH_COUNT // THREAD_COUNT
        sending = asyncio.create_task(wsgi.aget(f"/time/send/?count={count}"))
        assert 0 < await most_connections(valkey, pid, sending) <= connections
        ours = (await sending).json()["median"]
        # Before and after: the machine may be busy in one of the three times.
        theirs.append(await median_of_the_layer(wsgi))
        assert ours < max(theirs) / times_faster
        await eventually(lambda: len(listener.received) >= PUSH_COUNT, 30)
        assert (await listener.ask("ping"))["type"] == "pong"
        numbers = [[] for _ in range(THREAD_COUNT)]
        for payload in listener.of_type("timed"):
            numbers[payload["thread"]].append(payload["n"])
        assert numbers == [[*range(count)]] * THREAD_COUNT
    assert wsgi.log == ""


async def median_of_the_layer(wsgi):
    """Return the median seconds of a push by the layer itself."""
    return (await wsgi.aget("/time/group_send/?count=50")).json()["median"]


async def most_connections(valkey, pid, task):
    """Return the most connections to Valkey that ``pid`` had at a time until ``task`` is done."""
    most = 0
    with redis.Redis.from_url(valkey.url) as client:
        while not task.done():
            ports = {int(each["addr"].rpartition(":")[2]) for each in client.client_list()}
            most = max(most, len(ports & local_ports(pid)))
            await asyncio.sleep(POLL_SECONDS)
    return most


def local_ports(pid):
    """Return the local ports of the TCP sockets of process ``pid``."""
    links = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if f"socket:[{row[9]}]" in links}


@pytest.mark.parametrize(
    "options", [pytest.param("", marks=pytest.mark.slow), "--workers 2 --threads 4"]
)
async def test_wsgi_workers_push_and_answer(cluster, options):
    server, wsgi = cluster("uvicorn", "gunicorn", options={"gunicorn": options})
    async with connect(server, kind=Listener) as listener:
        await listener.ask("subscribe", {"room": "open"})
        paths = [f"/push/?room=open&payload={number}" for number in range(50)]
        answers = await asyncio.gather(*map(wsgi.aget, [*paths, "/pool/?room=open"]))
        assert [answer.body for answer in answers] == ["sent"] * 51
        await eventually(lambda: len(listener.received) >= 70)
        await wsgi.aget("/transaction/?room=open")
        stats = (await wsgi.aget("/stats/")).json()
        assert (stats["totalConnections"], stats["roomStats"]) == (1, {"open": 1})
        assert (await wsgi.aget("/apush/?room=open")).json()["roomStats"] == {"open": 1}
        await eventually(lambda: len(listener.received) >= 74)
        assert sorted(listener.of_type("pushed")[:50]) == list(range(50))
        assert listener.of_type("note") == [{"text": "kept"}]
    assert wsgi.log == ""


@pytest.mark.parametrize("layer", ["pubsub", pytest.param("core", marks=pytest.mark.slow)])
async def test_pushes_from_threads_forks_and_loops_leave_no_warning(cluster, layer):
    (server,) = cluster("uvicorn", layer=layer, config=CONFIG[layer])
    async with connect(server, kind=Listener) as listener:
        await listener.ask("subscribe", {"room": "open"})
        for name in JOBS:
            listener.received.clear()
            options = ("-W", "error::ResourceWarning", "-m", "tests.site.jobs", name)
            done = await asyncio.to_thread(server.python, *options)
            assert (name, done.stderr) == (name, "")
            count = int(done.stdout)
            await eventually(lambda: len(listener.received) >= count)  # noqa: B023
            assert (await listener.ask("ping"))["type"] == "pong"
            numbers = [payload["n"] for payload in listener.of_type("job")]
            assert sorted(numbers) == list(range(count))
            cursors = [envelope["cursor"] for envelope in listener.received]
            assert cursors == sorted(set(cursors))
        await push_from_a_shell(server)
        await eventually(lambda: listener.of_type("shell") == [None])
    assert server.log == ""


@pytest.mark.parametrize("layer", ["pubsub", pytest.param("core", marks=pytest.mark.slow)])
async def test_two_processes_push_under_the_same_keys_at_once(cluster, layer):
    (server,) = cluster("uvicorn", layer=layer, config=CONFIG[layer])
    async with connect(server, kind=Listener) as listener:
        await listener.ask("subscribe", {"room": "open"})
        job = ("-m", "tests.site.jobs", "keys")
        await asyncio.gather(*(asyncio.to_thread(server.python, *job) for _ in range(2)))
        await eventually(lambda: len(listener.received) >= 1000)
        assert (await listener.ask("ping"))["type"] == "pong"
        assert [payload["n"] for payload in listener.of_type("job")] == [*range(1000)]


async def push_from_a_shell(server):
    command = "from pm_realtime import send_to_room; send_to_room('open', 'shell')"
    done = await asyncio.to_thread(server.run, "shell", "-c", command)
    assert done.stderr == ""
