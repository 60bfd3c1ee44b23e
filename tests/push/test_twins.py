"""The public helpers: names, signatures, and the refusal of sync calls in an event loop."""

import inspect
import uuid

import pytest
from django.core.exceptions import SynchronousOnlyOperation

import pm_realtime
from tests.support.helpers import Connection

HELPERS = [
    "send_to_user",
    "send_to_room",
    "send_to_role",
    "broadcast",
    "send_to_connection",
    "disconnect_user",
    "disconnect_connection",
    "refresh_user",
    "refresh_room",
    "subscribe",
    "unsubscribe",
    "get_connection",
    "get_user_connections",
    "is_online",
    "get_stats",
    "get_cursor",
    "get_history",
    "get_presence",
    "is_present",
    "set_presence",
]


@pytest.mark.parametrize("name", HELPERS)
def test_helper_and_twin_have_name_signature_and_docstring(name):
    helper, twin = getattr(pm_realtime, name), getattr(pm_realtime, f"a{name}")
    assert (helper.__name__, twin.__name__) == (name, f"a{name}")
    assert inspect.iscoroutinefunction(twin)
    assert not inspect.iscoroutinefunction(helper)
    assert inspect.signature(helper) == inspect.signature(twin)
    assert helper.__doc__
    assert helper.__doc__ == twin.__doc__


PUSH = "*, id=None, exclude=None, idempotency_key=None, on_commit=True, fail_silently=None"
CLOSE = "code=4503, reason='', on_commit=True, fail_silently=None"


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("send_to_user", f"(user, type, payload=None, {PUSH})"),
        ("send_to_room", f"(room, type, payload=None, {PUSH})"),
        ("send_to_role", f"(role, type, payload=None, {PUSH})"),
        ("broadcast", f"(type, payload=None, {PUSH})"),
        (
            "send_to_connection",
            "(connection_id, type, payload=None, *, id=None, on_commit=True, fail_silently=None)",
        ),
        ("disconnect_user", f"(user, *, {CLOSE})"),
        ("disconnect_connection", f"(connection_id, *, {CLOSE})"),
        ("refresh_user", "(user, *, on_commit=True, fail_silently=None)"),
        ("refresh_room", "(room, *, on_commit=True, fail_silently=None)"),
        ("subscribe", "(connection_id, room, *, fail_silently=None)"),
        ("unsubscribe", "(connection_id, room, *, reason=None, fail_silently=None)"),
        ("get_connection", "(connection_id)"),
        ("get_user_connections", "(user)"),
        ("is_online", "(user)"),
        ("get_stats", "()"),
        ("get_cursor", "(room)"),
        ("get_history", "(room, *, since=None, limit=100)"),
        ("get_presence", "(room)"),
        ("is_present", "(user, room)"),
        ("set_presence", "(target, room, state, *, ttl=None)"),
    ],
)
def test_signature_is_the_documented_one(name, signature):
    found = inspect.signature(getattr(pm_realtime, name))
    bare = [
        parameter.replace(
            annotation=parameter.empty,
            default=int(parameter.default)
            if name.startswith("dis") and parameter.name == "code"
            else parameter.default,
        )
        for parameter in found.parameters.values()
    ]
    assert str(found.replace(parameters=bare, return_annotation=found.empty)) == signature


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("name", HELPERS)
async def test_sync_helper_in_a_running_loop_names_its_twin(name):
    async with Connection() as connection:
        function = getattr(pm_realtime, name)
        arguments = {
            "user": uuid.uuid4(),
            "room": "lobby",
            "role": "user",
            "connection_id": connection.connection_id,
            "type": "hello",
            "target": uuid.uuid4(),
            "state": {},
        }
        wanted = inspect.signature(function).parameters
        with pytest.raises(SynchronousOnlyOperation, match=rf"await a{name}\("):
            function(**{key: value for key, value in arguments.items() if key in wanted})
        assert await connection.so_far() == []
