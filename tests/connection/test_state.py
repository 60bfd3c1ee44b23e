"""The states that a connection goes through."""

import pytest

from pm_realtime import adisconnect_connection, adisconnect_user
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.connection.state import State
from pm_realtime.signals import connected, disconnected
from tests.support.helpers import Connection

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def consumers():
    """The consumers of the application below, in the order of their handshakes."""
    return []


@pytest.fixture
def application(consumers):
    class Recording(RealtimeConsumer):
        async def connect(self):
            consumers.append(self)
            self.states = [self.connection_state]
            await super().connect()

        async def accept(self, *args, **kwargs):
            await super().accept(*args, **kwargs)
            self.states.append(self.connection_state)

        async def notify(self, signal, **arguments):
            if signal in (connected, disconnected):
                self.states.append(self.connection_state)
            await super().notify(signal, **arguments)

    return Recording.as_asgi()


ALL = [State.HANDSHAKE, State.ACCEPTED, State.OPEN, State.CLOSED]


@pytest.mark.parametrize("code", [1000, 1001, 1006])
async def test_connection_that_its_client_ends(application, consumers, code):
    connection = await Connection(application=application).__aenter__()
    await connection.disconnect(code)
    assert consumers[0].states == ALL


async def test_connection_that_the_server_ends(application, consumers):
    async with Connection(application=application) as connection:
        await adisconnect_connection(connection.connection_id)
        await connection.assert_closed(4503)
        assert consumers[0].connection_state >= State.CLOSING
        await connection.assert_ended()
    assert consumers[0].states == ALL


async def test_refused_connection_is_never_open(application, consumers, configure):
    configure(ALLOW_ANONYMOUS=False)
    connection = Connection(application=application)
    await connection.connect()
    await connection.assert_closed(4501)
    await connection.assert_ended()
    assert consumers[0].states == ALL[:2]
    assert consumers[0].connection_state is State.CLOSED


class Game(RealtimeConsumer):
    """A site's consumer with attributes of its own."""

    async def connect(self):
        await super().connect()
        self.state, self.timings, self.answer, self.welcome = "lobby", {}, 42, "hello"


async def test_attributes_of_a_site_do_not_meet_those_of_the_consumer(user):
    async with Connection(user=user, application=Game.as_asgi()) as connection:
        assert await connection.is_alive()
        await adisconnect_user(user)
        await connection.assert_closed(4503)
