"""SIGTERM while code of the site never returns: the process ends in the time that the docs say."""

import contextlib
import time
from itertools import product

import pytest

from tests.integration.crowd import subscribe_frame
from tests.integration.raw import RawClient
from tests.integration.server import Server

PERIOD_SECONDS = 0.5
LOG_SECONDS = 30
#: That of docs/deployment.md, and three seconds for a busy machine.
END_SECONDS = PERIOD_SECONDS + 4 + 3
RULES = {
    "by thread": {"authorize": "tests.site.rules.stuck", "public": True},
    "by async": {"authorize": "tests.site.rules.stuck_async", "public": True},
    "in executor": {"authorize": "tests.site.rules.stuck_in_executor", "public": True},
    "deaf": {"authorize": "tests.site.rules.stuck_and_deaf", "public": True},
}


#: Settings and signals whose code never returns.
STUCK = {
    "rules": ({}, "disconnected,left"),
    "resolver": ({"ROLE_RESOLVER": "tests.site.rules.stuck_role"}, ""),
    "handshake": ({}, "connected"),
    "refusal": ({"ALLOW_ANONYMOUS": False}, "refused"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With one database for all servers."""
    return tmp_path_factory.mktemp("site")


@pytest.mark.parametrize(
    ("kind", "stuck"),
    [
        ("uvicorn", "rules"),
        *(
            pytest.param(kind, stuck, marks=pytest.mark.slow)
            for kind, stuck in product(["uvicorn", "daphne"], STUCK)
            if (kind, stuck) != ("uvicorn", "rules")
        ),
    ],
)
def test_process_ends_in_time_although_code_of_the_site_is_stuck(folder, kind, stuck):
    more, signals = STUCK[stuck]
    settings = {"ROOMS": RULES, "SHUTDOWN_PERIOD": PERIOD_SECONDS, "AUTHORIZE_TIMEOUT": 60, **more}
    application = "tests.site.stuck_asgi:application"
    with Server(kind, folder, settings, application, {"STUCK": signals}) as server:
        cookie = server.make_sessions("user")["user"] if stuck == "resolver" else ""
        with contextlib.ExitStack() as stack:
            for room in [*RULES, None]:
                client = RawClient(server, cookie, waits=stuck == "rules")
                stack.enter_context(client)
                if stuck == "rules" and room is not None:
                    client.send(subscribe_frame(room))
            if stuck == "rules":
                client.socket.close()  # Its receivers are stuck.
            wait_for_log(server, len(RULES) + 1)
            began = time.monotonic()
            code = server.stop()
            assert time.monotonic() - began < END_SECONDS
            assert code == 0
        assert "Traceback" not in server.log


@pytest.mark.slow
def test_process_ends_in_time_although_an_abandoned_call_is_stuck(folder):
    settings = {"ROOMS": RULES, "AUTHORIZE_TIMEOUT": 0.2}
    with Server("uvicorn", folder, settings) as server:
        with RawClient(server) as client:
            client.send(subscribe_frame("in executor"))
            while b"FORBIDDEN" not in client.frame()[1]:
                pass
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < END_SECONDS


def wait_for_log(server, count):
    """Wait until ``count`` calls are stuck."""
    deadline = time.monotonic() + LOG_SECONDS
    while server.log.count("waits for ever") < count:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.02)
