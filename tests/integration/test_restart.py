"""Restarted and killed servers leave no key in Valkey."""

import time

import pytest
import redis

#: The longest life of the keys of a killed process.
LEASE_SECONDS = 15
#: For this time RedisChannelLayer keeps messages that are not received.
EXPIRY_SECONDS = 8
#: The keys of streams begin so. They stay for recovery.
STREAMS = b"pm_realtime:{asgi:"
POLL_SECONDS = 0.1


@pytest.mark.load
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "options", [{"layer": "pubsub"}, {"layer": "core", "config": {"expiry": EXPIRY_SECONDS}}]
)
def test_rolling_restart_leaves_no_key(cluster, valkey, gather_crowd, options):
    servers = cluster("uvicorn", "daphne", SHUTDOWN_PERIOD=1, **options)
    crowds = [gather_crowd(server, size=1000, count=1) for server in servers]
    wait_for_total(servers, 2000)
    for number, server in enumerate(servers):
        server.stop()
        server.start()
        crowds[number].stop()
        crowds[number] = gather_crowd(server, size=1000, count=1)
    wait_for_total(servers, 2000)
    assert servers[0].get("/burst/?room=open&count=1").body == "sent"
    for crowd in crowds:
        assert crowd.finish()["deliveries"] == 1000
    wait_for_total(servers, 0)
    wait_for_no_keys(valkey, LEASE_SECONDS + EXPIRY_SECONDS)
    for server in servers:
        assert "Traceback" not in server.log


@pytest.mark.slow
def test_killed_server_leaves_no_key(cluster, valkey, gather_crowd):
    servers = cluster("uvicorn", "daphne")
    crowds = [gather_crowd(server, size=50, count=1) for server in servers]
    for server in servers:
        server.kill()
    wait_for_no_keys(valkey, LEASE_SECONDS)
    for crowd in crowds:
        crowd.stop()


def wait_for_total(servers, count):
    deadline = time.monotonic() + LEASE_SECONDS
    for server in servers:
        while (found := server.get("/stats/").json())["totalConnections"] != count:
            assert time.monotonic() < deadline, found
            time.sleep(POLL_SECONDS)


def wait_for_no_keys(valkey, seconds):
    deadline = time.monotonic() + seconds
    with redis.Redis.from_url(valkey.url) as client:
        while keys := [key for key in client.scan_iter() if not key.startswith(STREAMS)]:
            assert time.monotonic() < deadline, keys
            time.sleep(POLL_SECONDS)
