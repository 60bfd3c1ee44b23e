"""Fixtures of the tests of connections."""

import pytest

from pm_realtime.connection.outbox import Outbox
from tests.connection.draining import Server, handling
from tests.connection.fakes import Overflow, Socket
from tests.support.sessions import ENGINES


@pytest.fixture
async def socket():
    return Socket()


@pytest.fixture
def overflow():
    return Overflow()


@pytest.fixture
def held(socket, overflow):
    return Outbox(socket.send, overflow)


@pytest.fixture
async def outbox(held, socket):
    """An outbox whose first frame is out."""
    held.release("first")
    assert socket.texts == ["first"]
    socket.frames.clear()
    return held


@pytest.fixture
def server():
    """A server in the process of the test; its handler is in charge again afterwards."""
    server = Server()
    with handling(server.stop):
        yield server


@pytest.fixture(params=ENGINES)
def engine(request, settings, tmp_path):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    return request.param


@pytest.fixture
def rarely(configure):
    """No sweep takes place during the test."""
    configure(SESSION_RECHECK_INTERVAL=600)


@pytest.fixture
def often(configure):
    configure(SESSION_RECHECK_INTERVAL=0.2)


@pytest.fixture
def hosts(settings):
    """A host of each kind that ``ALLOWED_HOSTS`` may name. Some tests replace them."""
    settings.ALLOWED_HOSTS = ["example.com", ".wild.org", "127.0.0.1", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = []
