"""Values of a site by which users, rooms, roles, connections and types are named."""

import enum
import re
import uuid
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import models
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, override

import pm_realtime
from pm_realtime.protocol import RESERVED_TYPES, MessageType
from pm_realtime.push import user_key
from pm_realtime.testing import capture_pushes
from tests.support.helpers import Connection


class Kind(str, enum.Enum):  # noqa: UP042 - Its `str()` is the name of the member.
    NOTICE = "notice"
    LOBBY = "lobby"
    EDITOR = "editor"


@pytest.fixture(params=[models.BigAutoField, models.CharField, models.UUIDField])
def primary_key(request, monkeypatch):
    """A field that is the primary key of the user model."""
    field = request.param(primary_key=True)
    field.set_attributes_from_name("id")
    monkeypatch.setattr(get_user_model()._meta, "pk", field)
    return request.param


@pytest.mark.parametrize(
    "make_bad",
    [
        lambda: True,
        lambda: False,
        lambda: 1.0,
        lambda: 1.9,
        lambda: float("nan"),
        lambda: float("inf"),
        lambda: Decimal("1"),
        lambda: Fraction(1),
        lambda: 1j,
        lambda: None,
        lambda: "",
        lambda: b"1",
        lambda: [1],
        lambda: (1,),
        lambda: {1},
        lambda: {"pk": 1},
        lambda: range(1),
        lambda: iter([1]),
        object,
        lambda: SimpleNamespace(is_authenticated=True),
        get_user_model,
        lambda: get_user_model().objects,
        get_user_model().objects.all,
        lambda: get_user_model().objects.values_list("pk", flat=True),
        lambda: SimpleLazyObject(lambda: [1]),
        lambda: SimpleLazyObject(lambda: 1),
        lambda: int,
        lambda: len,
    ],
)
def test_value_that_names_no_user_is_refused_for_any_primary_key(primary_key, make_bad):
    with pytest.raises(ValueError, match="expected a saved user or a primary key"):
        user_key(make_bad())


def test_refusal_of_several_users_says_to_push_to_each():
    with pytest.raises(ValueError, match=r"a QuerySet\. Push to one user at a time"):
        user_key(get_user_model().objects.all())
    with pytest.raises(ValueError, match="the class User"):
        user_key(get_user_model())


async def test_refusal_of_a_coroutine_says_to_await_it():
    async def auser():
        """As ``request.auser``."""

    with pytest.raises(ValueError, match="a coroutine"):
        user_key(auser())


class Number(enum.IntEnum):
    SEVEN = 7


class Index:
    """A number of another library."""

    def __index__(self):
        return 7


@pytest.mark.parametrize(
    "given", [7, "7", mark_safe("7"), Number.SEVEN, Index()], ids=lambda given: type(given).__name__
)
def test_number_or_text_names_the_user_with_that_number(monkeypatch, given):
    monkeypatch.setattr(get_user_model()._meta, "pk", models.BigAutoField(primary_key=True))
    assert user_key(given) == "7"
    monkeypatch.setattr(get_user_model()._meta, "pk", models.CharField(primary_key=True))
    assert user_key(given) == "7"
    assert type(user_key(given)) is str


def test_uuid_or_its_text_names_the_user_with_that_uuid(monkeypatch):
    key = uuid.UUID(int=7)
    for given in (key, str(key), mark_safe(str(key)), key.hex):
        assert user_key(given) == str(key)
    monkeypatch.setattr(get_user_model()._meta, "pk", models.CharField(primary_key=True))
    assert user_key(key) == str(key)
    monkeypatch.setattr(get_user_model()._meta, "pk", models.BigAutoField(primary_key=True))
    with pytest.raises(ValueError, match="expected a saved user"):
        user_key(key)


def test_decimal_names_the_user_of_a_model_whose_primary_key_is_a_decimal(monkeypatch):
    monkeypatch.setattr(get_user_model()._meta, "pk", models.DecimalField(primary_key=True))
    assert user_key(Decimal("1.5")) == "1.5"


async def test_lazy_user_of_a_request_can_be_given_in_an_event_loop(user):
    def lazy():
        return SimpleLazyObject(lambda: get_user_model().objects.get(pk=user.pk))

    with capture_pushes() as pushes:
        await pm_realtime.asend_to_user(lazy(), "hello")
        await pm_realtime.adisconnect_user(lazy())
        await pm_realtime.arefresh_user(lazy())
        assert await pm_realtime.ais_online(lazy()) is False
        assert await pm_realtime.aget_user_connections(lazy()) == []
    assert [push.type for push in pushes.to_user(user)] == ["hello"]


# Texts


def test_members_of_enums_and_safe_strings_stand_for_their_texts(user, configure):
    configure(ROLES=(Kind.EDITOR, "admin"))
    with capture_pushes() as pushes:
        for text in (Kind.NOTICE, mark_safe("notice")):
            pm_realtime.broadcast(text, id=text, exclude=text)
            pm_realtime.send_to_room(Kind.LOBBY, text)
            pm_realtime.send_to_role(Kind.EDITOR, text)
            pm_realtime.send_to_connection(text, text)
    assert [push.type for push in pushes] == ["notice"] * 8
    assert [push.id for push in pushes.to_all()] == ["notice"] * 2
    assert [push.room for push in pushes.to_room("lobby")] == ["lobby"] * 2
    assert len(pushes.to_role("editor")) == 2


@pytest.mark.usefixtures("leaves_nothing")
async def test_room_reason_and_connection_of_any_text_arrive_as_plain_ones(user):
    async with Connection(user=user) as connection:
        await pm_realtime.asubscribe(mark_safe(connection.connection_id), Kind.LOBBY)
        joined = await connection.assert_push("subscribed")
        assert joined["payload"]["room"] == "lobby"
        info = await pm_realtime.aget_connection(mark_safe(connection.connection_id))
        assert info.rooms == ("lobby",)
        await pm_realtime.asend_to_room("lobby", "x", exclude=mark_safe(connection.connection_id))
        for reason in (Kind.NOTICE, mark_safe("notice")):
            await pm_realtime.aunsubscribe(connection.connection_id, Kind.LOBBY, reason=reason)
            left = await connection.assert_push("unsubscribed")
            assert left["payload"] == {"room": "lobby", "success": True, "reason": "notice"}
            await pm_realtime.asubscribe(connection.connection_id, "lobby")
        with override("de"):
            await pm_realtime.adisconnect_user(user, reason=gettext_lazy("Yes"))
        while (event := await connection.receive_output())["type"] != "websocket.close":
            pass
        assert event["reason"] == "Ja"


# Types of the protocol

RESERVED = [
    *("connected", "subscribed", "unsubscribed", "pong", "ping", "subscribe", "unsubscribe"),
    *("error", "ack", "gap", "result", "presence", ":", ":open", ":close", "*"),
    *(MessageType.CONNECTED, mark_safe("connected"), mark_safe(":open")),
]


@pytest.mark.parametrize("type", RESERVED)
async def test_type_of_the_protocol_is_refused_where_it_is_written(type):
    calls = {
        "send_to_user": [uuid.uuid4()],
        "send_to_room": ["lobby"],
        "send_to_role": ["user"],
        "send_to_connection": ["c"],
        "broadcast": [],
    }
    with capture_pushes() as pushes:
        for name, target in calls.items():
            with pytest.raises(ValueError, match="expected a type of your own"):
                await sync_to_async(getattr(pm_realtime, name))(*target, type)
            with pytest.raises(ValueError, match="expected a type of your own"):
                await getattr(pm_realtime, f"a{name}")(*target, type, on_commit=False)
    assert pushes == []


@pytest.mark.parametrize(
    "type", ["message", "notification", "broadcast", "Connected", "a:b", "connected ", "**", "é"]
)
def test_other_types_are_those_of_the_site(type):
    with capture_pushes() as pushes:
        pm_realtime.broadcast(type)
    assert [push.type for push in pushes] == [type]


def test_documentation_lists_the_types_of_the_protocol():
    page = (Path(__file__).parents[2] / "docs" / "pushing.md").read_text()
    (listed,) = re.findall(r"The types of the protocol are a `ValueError`: (.*), and all", page)
    assert set(re.findall(r"`([^`]+)`", listed)) == RESERVED_TYPES
