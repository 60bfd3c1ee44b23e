import asyncio

import pytest
from channels.layers import channel_layers
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from pm_realtime import aget_stats
from pm_realtime.hub import get_hub
from tests.helpers import NO_CONNECTIONS, eventually, layer_groups

ROLES = ("user", "editor", "admin", "master")


@pytest.fixture
def make_user(transactional_db):
    """Make a user of a role in the way the default resolver reads it."""

    def make(role="user", username=None, **fields):
        user = get_user_model().objects.create_user(
            username=username or f"the-{role}", is_superuser=role == "master", **fields
        )
        if role in ("editor", "admin"):
            user.groups.add(Group.objects.get_or_create(name=role)[0])
        return user

    return make


@pytest.fixture
def user(make_user):
    return make_user("user", first_name="Uma", last_name="User")


@pytest.fixture
def editor(make_user):
    return make_user("editor", first_name="Ed", last_name="Itor")


@pytest.fixture
def users(make_user):
    """One user of each role, by the role."""
    return {role: make_user(role) for role in ROLES}


@pytest.fixture
def configure(settings):
    """Set some keys of ``PM_REALTIME`` for this test, beside those that are set."""

    def configure(**keys):
        settings.PM_REALTIME = {**settings.PM_REALTIME, **keys}

    return configure


@pytest.fixture
async def leaves_nothing():
    """After the test no task is left, no connection is counted and the layer has no group."""
    yield
    try:
        await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        assert len(get_hub()) == 0
        assert await aget_stats() == NO_CONNECTIONS
        assert layer_groups() == {}
    finally:
        channel_layers.backends.clear()  # What one test leaves is no other's fault.
