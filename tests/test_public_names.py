"""The names that sites write. A site that was written against version 0.1 still finds them.

The defaults of settings, the codes of the protocol and the ids of checks have tests of their own:
``conf/test_settings.py``, ``protocol/test_codes.py`` and ``checks/test_settings.py``.
"""

import inspect
import subprocess
import sys
from importlib import import_module
from typing import get_type_hints

import pytest
from django.core.asgi import get_asgi_application as get_django_application
from django.dispatch import Signal

import pm_realtime
from pm_realtime import aget_connection, aget_stats, exceptions, protocol, signals, testing
from pm_realtime.backends.base import Admission, Backend, ConnectionInfo, Stats
from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.conf import conf
from pm_realtime.consumers import RealtimeConsumer
from pm_realtime.routing import websocket_urlpatterns
from pm_realtime.testing import RealtimeCommunicator

SYNC_HELPERS = (
    *("broadcast", "disconnect_connection", "disconnect_user", "get_connection", "get_cursor"),
    *("get_history", "get_presence", "get_stats", "get_user_connections", "is_online"),
    *("is_present", "refresh_room", "refresh_user", "send_to_connection", "send_to_role"),
    *("send_to_room", "send_to_user", "set_presence", "subscribe", "unsubscribe"),
)
RESULTS = ("Presence", "PresenceMember")
DECLARING = ("Command", "CommandError", "command", "push_type")
MODULES = {
    "asgi": ("get_asgi_application",),
    "backends": ("get_backend",),
    "backends.base": ("Admission", "Backend", "ConnectionInfo", "Stats"),
    "backends.memory": ("MemoryBackend",),
    "backends.redis": ("RedisBackend",),
    "conf": ("conf",),
    "consumers": ("RealtimeConsumer",),
    "exceptions": (
        *("BackendError", "CloseConnection", "CommandError", "HandshakeRefused", "OutageError"),
        *("PayloadError", "RealtimeError"),
    ),
    "protocol": (
        *("BATCH_SUBPROTOCOL", "CloseCode", "Command", "Envelope", "ErrorCode", "INTERNAL_ERROR"),
        *("MAX_DEPTH", "MAX_ROOM_LENGTH", "MessageType", "SUBPROTOCOL", "check_room", "decode"),
        *("encode", "error_payload", "make_envelope", "may_reconnect"),
    ),
    "roles": ("has_role", "rank", "resolve_role", "role_of", "roles_up_to"),
    "routing": ("websocket_urlpatterns",),
    "signals": (
        *("arrived", "connected", "departed", "disconnected", "joined", "left", "refused"),
    ),
    "testing": (
        *("ANYTHING", "PATIENCE", "Pushes", "RealtimeCommunicator", "capture_pushes"),
        *("CommandFailed", "SeenPresence", "acall_command_handler", "call_command_handler"),
        "session_cookie",
    ),
    "urls": ("app_name", "urlpatterns"),
    "views": ("upgrade_required",),
}
SIGNATURES = {
    "commands.command": (
        "type, *, room=None, joined=True, min_role=None, public=False, rate=None, timeout=10.0, "
        "atomic=None"
    ),
    "schemas.push_type": "type, annotation",
    "backends.base.Admission": "admitted, replaced=()",
    "backends.base.ConnectionInfo": ("*, connection_id, user_id, role, connected_at, rooms=()"),
    "exceptions.CloseConnection": "code, reason=''",
    "exceptions.CommandError": "code, message, *, room=None, id=None, **details",
    "exceptions.HandshakeRefused": "status, retry_after",
    "protocol.Command": (
        "*, type, payload=None, id=None, room=None, user=None, role=None, connection_id='', "
        "is_volatile=False"
    ),
    "protocol.Envelope": "*, type, payload=None, timestamp, id=None, room=None, to=None",
    "protocol.check_room": "room",
    "protocol.decode": "frame, *, max_bytes",
    "protocol.encode": "envelope",
    "protocol.error_payload": "error",
    "protocol.make_envelope": "type, payload=None, *, id=None, room=None, to=None",
    "protocol.may_reconnect": "code",
    "roles.has_role": "role, needed",
    "roles.rank": "role",
    "roles.resolve_role": "user",
    "roles.role_of": "user",
    "roles.roles_up_to": "role",
    "testing.RealtimeCommunicator": (
        "*, user=None, application=None, headers=None, subprotocols=None"
    ),
    "testing.capture_pushes": "",
    **dict.fromkeys(
        ("testing.call_command_handler", "testing.acall_command_handler"),
        "function, *, user=None, payload=None, room=None, id=None, **values",
    ),
    "testing.session_cookie": "user",
}
METHODS = {
    Backend: {
        "add": "connection, *, limit, policy, instead_of=None",
        "check": "",
        "get_connection": "connection_id",
        "get_stats": "",
        "get_user_connections": "user_id",
        "join": "connection_id, room, *, capacity",
        "leave": "connection_id, room",
        "release": "",
        "remove": "connection_id",
        "run": "coroutine",
        "set_role": "connection_id, role",
    },
    RealtimeCommunicator: {
        "assert_closed": "code, *, timeout=5.0",
        "assert_error": "id, code, *, timeout=5.0",
        "assert_nothing": "timeout=0.1",
        "assert_push": "type, payload=ANYTHING, *, timeout=5.0",
        "assert_reply": "id, type, payload=ANYTHING, *, timeout=5.0",
        "call": "type, payload=None, *, room=None, id=None, timeout=5.0",
        "command": "type, payload=None, *, room=None, id=None",
        "receive": "timeout=5.0",
        "drop": "",
        "forget_history": "",
        "recover": "*, user=ANYTHING, application=None",
        "subscribe": "room, since=None, last=None",
    },
    testing.Pushes: {"to_all": "", "to_role": "role", "to_room": "room", "to_user": "user"},
}
LOGGERS = ["auth", "commands", "connection", "push", "room"]


def signature_of(function, skip_self=False):
    """Return the parameters as text, without annotations."""
    found = inspect.signature(function)
    parameters = [each.replace(annotation=each.empty) for each in found.parameters.values()]
    text = str(found.replace(parameters=parameters[skip_self:], return_annotation=found.empty))
    return text[1:-1].replace(repr(testing.ANYTHING), "ANYTHING")


def test_package_exports_the_helpers_and_their_twins():
    twins = [f"a{name}" for name in SYNC_HELPERS]
    assert sorted(pm_realtime.__all__) == sorted(
        ["__version__", "realtime_room", *DECLARING, *RESULTS, *SYNC_HELPERS, *twins]
    )
    assert all(hasattr(pm_realtime, name) for name in pm_realtime.__all__)


@pytest.mark.parametrize(("module", "names"), MODULES.items())
def test_module_has_its_public_names(module, names):
    found = import_module(f"pm_realtime.{module}")
    assert [name for name in names if not hasattr(found, name)] == []


@pytest.mark.parametrize(("path", "signature"), SIGNATURES.items())
def test_signature_is_the_documented_one(path, signature):
    module, _, name = path.rpartition(".")
    assert signature_of(getattr(import_module(f"pm_realtime.{module}"), name)) == signature


@pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)
def test_methods_have_the_documented_signatures(cls):
    found = {name: signature_of(getattr(cls, name), skip_self=True) for name in METHODS[cls]}
    assert found == METHODS[cls]


def test_exceptions_have_a_common_root():
    bases = {
        name: getattr(exceptions, name).__bases__
        for name in MODULES["exceptions"]
        if name != "RealtimeError"
    }
    root = exceptions.RealtimeError
    assert bases == {
        "BackendError": (root,),
        "CloseConnection": (root,),
        "CommandError": (root,),
        "HandshakeRefused": (root,),
        "OutageError": (exceptions.BackendError,),
        "PayloadError": (root, ValueError),
    }


def test_signals_are_signals_of_django():
    assert all(type(getattr(signals, name)) is Signal for name in MODULES["signals"])


def test_types_of_messages_and_subprotocols_are_those_of_the_wire():
    assert [str(each) for each in protocol.MessageType] == [
        *("ping", "pong", "connected", "subscribe", "subscribed", "unsubscribe", "unsubscribed"),
        *("message", "notification", "broadcast", "error", "ack", "gap", "result", "presence"),
    ]
    assert (protocol.SUBPROTOCOL, protocol.BATCH_SUBPROTOCOL) == (
        "pm-realtime.v1",
        "pm-realtime.v1.batch",
    )


def test_stats_have_their_keys():
    assert list(get_type_hints(Stats)) == [
        *("totalConnections", "authenticatedConnections", "totalRooms", "roomStats")
    ]


def test_only_the_documented_loggers_exist():
    script = """
import logging, pkgutil
from importlib import import_module
import django
django.setup()
import pm_realtime
for module in pkgutil.walk_packages(pm_realtime.__path__, "pm_realtime."):
    if not module.name.startswith("pm_realtime.browser"):
        import_module(module.name)
for name, logger in sorted(logging.root.manager.loggerDict.items()):
    if name.startswith("pm_realtime.") and isinstance(logger, logging.Logger):
        print(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [f"pm_realtime.{name}" for name in LOGGERS]


class SiteBackend(Backend):
    """A backend of a site, which implements each abstract method by its documented signature."""

    def __init__(self):
        self.inner = MemoryBackend()

    async def add(self, connection, *, limit, policy, instead_of=None):
        assert isinstance(connection, ConnectionInfo)
        await self.inner.add(connection, limit=limit, policy=policy, instead_of=instead_of)
        return Admission(True)

    async def remove(self, connection_id):
        await self.inner.remove(connection_id)

    async def set_role(self, connection_id, role):
        await self.inner.set_role(connection_id, role)

    async def join(self, connection_id, room, *, capacity):
        return await self.inner.join(connection_id, room, capacity=capacity)

    async def leave(self, connection_id, room):
        await self.inner.leave(connection_id, room)

    async def get_connection(self, connection_id):
        return await self.inner.get_connection(connection_id)

    async def get_user_connections(self, user_id):
        return await self.inner.get_user_connections(user_id)

    async def get_stats(self):
        return await self.inner.get_stats()

    async def release(self):
        await self.inner.release()

    def run(self, coroutine):
        return self.inner.run(coroutine)


async def test_backend_of_a_site_serves_connections(configure, user):
    configure(BACKEND=f"{__name__}.SiteBackend")
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("hall")
        found = await aget_connection(connection.connection_id)
        assert (found.user_id, found.rooms) == (str(user.pk), ("hall",))
        assert (await aget_stats())["roomStats"] == {"hall": 1}
    assert (await aget_stats())["totalConnections"] == 0


async def test_consumer_can_be_subclassed_and_mounted(user):
    class SiteConsumer(RealtimeConsumer):
        pass

    for application in (SiteConsumer.as_asgi(), websocket_urlpatterns[0].callback):
        async with RealtimeCommunicator(user=user, application=application) as connection:
            assert connection.connected["userId"] == str(user.pk)


def test_settings_are_read_from_conf(configure):
    configure(RATE_LIMIT="5/s")
    assert (conf.RATE_LIMIT, conf.PATH) == ("5/s", "api/ws")


def test_application_is_made_like_that_of_django():
    made = import_module("pm_realtime.asgi").get_asgi_application
    assert signature_of(made) == signature_of(get_django_application) == ""
