"""Delivery on real servers under load."""

import socket
import time

import pytest

from tests.integration.crowd import handshake, subscribe_frame

pytestmark = pytest.mark.load

SOCKET_TIMEOUT_SECONDS = 30
STATS_TIMEOUT_SECONDS = 30
MAX_GROWTH_BYTES = 16_000_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_burst_from_a_view_reaches_a_thousand_connections_in_order(serve, gather_crowd, kind):
    server = serve(kind, SHUTDOWN_PERIOD=1)
    crowd = gather_crowd(server, size=1000, count=1000)
    stats = server.get("/stats/?room=open").json()
    assert stats["roomStats"] == {"open": 1000}
    assert stats["members"] == 1
    assert server.get("/burst/?room=open&count=1000").body == "sent"
    assert crowd.finish()["deliveries"] == 1_000_000
    assert "Traceback" not in server.log


def test_connection_that_does_not_read_is_closed_and_delays_no_other(serve, gather_crowd):
    server = serve("uvicorn", ROOMS={"open": {"public": True}, "heavy": {"public": True}})
    crowd = gather_crowd(server, size=999, count=300)
    with frozen_reader(server, "open", "heavy") as frozen:
        wait_for_stats(server, roomStats={"open": 1000, "heavy": 1})
        before = server.get("/memory/").json()["bytes"]
        server.get("/burst/?room=open&count=150")
        server.get("/burst/?room=heavy&count=100&size=60000")
        wait_for_stats(server, totalConnections=999)
        assert read_close_code(frozen) == 4002
        server.get("/burst/?room=open&count=150&start=150")
    assert crowd.finish()["deliveries"] == 999 * 300
    wait_for_stats(server, totalConnections=0)
    assert server.get("/memory/").json()["bytes"] < before + MAX_GROWTH_BYTES
    assert "Traceback" not in server.log


def frozen_reader(server, *rooms):
    """Return the socket of a subscriber with a small buffer, which reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(SOCKET_TIMEOUT_SECONDS)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(handshake(server.ws_url))
    assert sock.recv(12) == b"HTTP/1.1 101"
    sock.sendall(b"".join(map(subscribe_frame, rooms)))
    return sock


def wait_for_stats(server, **expected):
    deadline = time.monotonic() + STATS_TIMEOUT_SECONDS
    while not expected.items() <= (found := server.get("/stats/").json()).items():
        assert time.monotonic() < deadline, f"expected {expected}, got {found}"


def read_close_code(sock):
    """Read to the end and return the code of the close frame, which comes last."""
    data = b""
    while chunk := sock.recv(65536):
        data = data[-200:] + chunk
        start = data.rfind(b"\x88")
        if start >= 0 and len(data) == start + 2 + data[start + 1]:
            return int.from_bytes(data[start + 2 : start + 4])
    raise AssertionError(f"the socket ended without a close frame: {data[-50:]!r}")
