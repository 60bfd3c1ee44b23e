"""Connections of browsers that resume after others."""

from contextlib import AsyncExitStack

import pytest

from pm_realtime import adisconnect_connection
from tests.hub.resuming import ROOMS
from tests.support.helpers import Connection
from tests.support.sessions import Browser


@pytest.fixture
def site(configure):
    """A hub that looks often whether a resume buffer has expired."""
    configure(ROOMS=ROOMS, HEARTBEAT_INTERVAL=0.3, HEARTBEAT_TIMEOUT=0.1, RATE_LIMIT=None)


@pytest.fixture
async def connect(site, transactional_db):
    """``await connect(browser, after=…)``: a connection that resumes another one.

    ``seen`` is the number of frames that its client has received of that one, by default all.
    """
    connections = []
    async with AsyncExitStack() as stack:

        async def connect(browser=None, after=None, seen=None, query=None):
            connection = Connection(headers=browser.headers if browser else None)
            if query is None:
                query = "resume="
            if after is not None:
                query = f"resume={after.connection_id},{after.frames if seen is None else seen}"
            connection.scope["query_string"] = query.encode()
            await stack.enter_async_context(connection)
            connections.append(connection)
            connection.frames = 0
            return connection

        yield connect
    for connection in connections:
        await adisconnect_connection(connection.connection_id)


@pytest.fixture
async def everything_arrived(connect):
    """``await everything_arrived()``: until all that was sent before has reached this process."""
    bystander = await connect(query="")
    return bystander.so_far


@pytest.fixture
async def browser(user):
    return await Browser.of(user)
