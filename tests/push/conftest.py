"""Every public helper in both forms, and connections of every role."""

import asyncio
import functools
from contextlib import AsyncExitStack

import pytest

import pm_realtime
from tests.support.helpers import Connection


class Helpers:
    """Every helper under its name: the sync one in a thread, or the async one in the loop."""

    def __init__(self, twin):
        self.twin = twin

    def __getattr__(self, name):
        if self.twin == "async":
            return getattr(pm_realtime, f"a{name}")
        return functools.partial(asyncio.to_thread, getattr(pm_realtime, name))


@pytest.fixture(params=["sync", "async"])
def helpers(request):
    return Helpers(request.param)


@pytest.fixture
async def crowd(users):
    """A connection of each role, two of ``user``, and an anonymous one."""
    async with AsyncExitStack() as stack:
        found = {
            role: await stack.enter_async_context(Connection(user=user))
            for role, user in users.items()
        }
        found["user 2"] = await stack.enter_async_context(Connection(user=users["user"]))
        found["anonymous"] = await stack.enter_async_context(Connection())
        yield found
