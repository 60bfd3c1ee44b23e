import pytest

from tests.support.valkey import Valkey


@pytest.fixture
def durable():
    """A Valkey that has each write in its file before it answers."""
    server = Valkey("--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.kill()
