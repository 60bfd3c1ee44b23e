import asyncio
import contextlib
import json
import signal
import time

import pytest
from channels.layers import channel_layers
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.contenttypes.management import create_contenttypes
from django.db.models.signals import post_migrate
from django.test import override_settings

from pm_realtime import aget_stats, signals
from pm_realtime.backends import get_backend, get_presence_store, use_streams
from pm_realtime.commands import DECLARATIONS
from pm_realtime.connection import forget_counts
from pm_realtime.exceptions import OutageError
from pm_realtime.hub import get_hub
from pm_realtime.layer import get_layer, is_in_process
from pm_realtime.observability import outage, throttle
from pm_realtime.rooms import get_loop_presence
from pm_realtime.schemas import PUSH_TYPES
from tests.support import redis_layer
from tests.support.far_layer import FarLayer
from tests.support.helpers import NO_CONNECTIONS, eventually, layer_groups, running_tasks
from tests.support.node import installed_packages
from tests.support.valkey import Valkey

ROLES = ("user", "editor", "admin", "master")


def pytest_addoption(parser):
    parser.addoption(
        "--layer",
        choices=["memory", *redis_layer.LAYERS],
        default="memory",
        help="the channel layer, and with it the backend, of all tests that name none themselves",
    )


def pytest_configure():
    """Have the processes of tests hear Ctrl-C, which a job in the background of a shell ignores."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    """Tests that do not depend on the layer run over the default of ``--layer`` only."""
    if config.getoption("layer") != "memory":
        config.hook.pytest_deselected(items=[each for each in items if not _depends_on_layer(each)])
        items[:] = filter(_depends_on_layer, items)


def _depends_on_layer(item):
    """Not if it chooses its layer itself. One session engine stands for all."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return "memory_layer" not in item.fixturenames and parameters.get("engine", "db") == "db"


def pytest_report_header(config):
    return f"channel layer: {config.getoption('layer')}"


@pytest.fixture(scope="session", autouse=True)
def chosen_layer(pytestconfig):
    """Have this process, and the servers that tests start, use the layer of ``--layer``."""
    kind = pytestconfig.getoption("layer")
    if kind == "memory":
        yield kind
        return
    with redis_layer.running_valkey() as url, pytest.MonkeyPatch.context() as patch:
        layers = redis_layer.channel_layers(kind, url)
        patch.setenv("TEST_CHANNEL_LAYERS", json.dumps(layers))
        with override_settings(CHANNEL_LAYERS=layers):
            yield kind


@pytest.fixture(scope="session", autouse=True)
def bare_database():
    """Make no permissions and content types, which Django would make anew after each test."""
    uid = "django.contrib.auth.management.create_permissions"
    assert post_migrate.disconnect(dispatch_uid=uid)
    assert post_migrate.disconnect(create_contenttypes)


@pytest.fixture(scope="session")
def node_modules():
    """The folder with the npm packages for the tests of the browser client."""
    with installed_packages() as folder:
        yield folder


@pytest.fixture(autouse=True)
def fresh_layer(chosen_layer):
    """Each test starts with an empty Redis, or with new streams, results and rooms in memory."""
    if chosen_layer == "memory":
        for part in ("streams", "results", "presence"):
            vars(get_backend()).pop(part, None)
    else:
        redis_layer.delete_keys()


@pytest.fixture(autouse=True)
def fresh_counts():
    """Each test counts handshakes, log lines and outages from zero."""
    forget_counts()
    throttle.clear()
    outage.clear()


@pytest.fixture
def memory_layer(settings, monkeypatch):
    """A site without ``CHANNEL_LAYERS``, also if the suite runs over another layer."""
    settings.CHANNEL_LAYERS = {}
    monkeypatch.delenv("TEST_CHANNEL_LAYERS", raising=False)


@pytest.fixture
def own_streams(memory_layer):
    """Have a test use its own streams: ``own_streams(streams)``."""
    yield use_streams
    use_streams(None)


@pytest.fixture
def valkey():
    """A Valkey for one test."""
    server = Valkey()
    yield server
    server.kill()


@pytest.fixture
async def far(memory_layer):
    """A layer outside of this process, of an unknown kind, which fails on command."""
    layer = FarLayer()
    channel_layers.set("default", layer)
    yield layer
    channel_layers.backends.clear()


@pytest.fixture
def make_user(transactional_db):
    """Make a user to whom the default resolver gives a role."""

    def make(role="user", username=None, **fields):
        user = get_user_model().objects.create_user(
            username=username or f"the-{role}", is_superuser=role == "master", **fields
        )
        if not hasattr(user, "groups"):
            user.level = role
            user.save()
        elif role in ("editor", "admin"):
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
    """Set keys of ``PM_REALTIME`` for this test, in addition to those that are set."""

    def configure(**keys):
        settings.PM_REALTIME = {**settings.PM_REALTIME, **keys}

    return configure


@pytest.fixture
def declarations():
    """The commands of the site, none at first. Those of a test end with it."""
    found = [(each, dict(each)) for each in (DECLARATIONS, PUSH_TYPES)]
    for registry, _ in found:
        registry.clear()
    yield DECLARATIONS
    for registry, before in found:
        registry.clear()
        registry.update(before)


@pytest.fixture
def no_commands(declarations):
    """The same, for tests that do not look at them."""


@pytest.fixture
def busy_loop():
    """Each turn of the loop takes so long: ``async with busy_loop(seconds)``."""

    @contextlib.asynccontextmanager
    async def busy(seconds):
        loop, is_busy = asyncio.get_running_loop(), True

        def work():
            time.sleep(seconds)
            if is_busy:
                loop.call_soon(work)

        loop.call_soon(work)
        try:
            yield
        finally:
            is_busy = False

    return busy


@pytest.fixture
def connect_receiver():
    """Connect a receiver to a signal of the app, by its name, for this test."""
    connected = []

    def connect(name, receiver):
        getattr(signals, name).connect(receiver, weak=False)
        connected.append((name, receiver))

    yield connect
    for name, receiver in connected:
        getattr(signals, name).disconnect(receiver)


async def _end_graces():
    """Forget who has left rooms, for which the event loop would go on for a while."""
    if get_loop_presence().sweeper.forget():
        with contextlib.suppress(OutageError):
            await get_presence_store().forget_all()


@pytest.fixture
async def leaves_nothing():
    """After the test no task runs, no connection is counted and the layer has no group."""
    yield
    await _end_graces()
    try:
        await eventually(lambda: running_tasks() == {asyncio.current_task()})
        assert len(get_hub()) == 0
        assert await aget_stats() == NO_CONNECTIONS
        await eventually(lambda: layer_groups() == {})
    finally:
        if is_in_process(get_layer()):
            channel_layers.backends.clear()  # So that later tests do not fail for this one.
