"""Names that just miss a route, and invalid options, open no room."""

import enum
import time
import uuid

import pytest
from django.urls import converters, register_converter

from pm_realtime.conf import Room, RoomOptions, missed_route
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import ErrorCode
from pm_realtime.rooms import find_room

KEY = uuid.UUID("1234abcd-1234-5678-1234-5678abcdef00")
ROUTES = {
    "repo:<slug:name>": {"min_role": "editor"},
    "repo:team:<int:pk>": {},
    "doc:<uuid:key>": {},
    "a b/<int:pk>/chat": {},
    "c.d+<path:rest>!": {},
    "<slug:org>/members": {},
    "repo:listed ü": {"min_role": "admin"},
    "<int:a>@<int:b>@<int:c>": {},
}


@pytest.mark.parametrize(
    "name",
    [
        "repo:über",
        "repo:",
        "repo: name",
        "repo:name ",
        "repo:a/b",
        "repo:a:b",
        "repo:a%20b",
        "repo:team:",
        "repo:team:x",
        "repo:team:٣",
        "repo:ｎame",  # noqa: RUF001 -- a full-width letter
        "repo:x\u200b",
        "repo:\u2028",
        f"doc:{str(KEY).upper()}",
        f"doc:{KEY.hex}",
        f"doc:{{{KEY}}}",
        "a b/x/chat",
        "a b/1",
        "c.d+x",
        "über/members",
        "a/b/members",
        "1@2@x",
        "@@",
    ],
)
def test_name_that_begins_like_a_route_and_fits_none_is_refused(settings, name):
    settings.PM_REALTIME = {"ROOMS": ROUTES, "DEFAULT_ROOM": {"public": True}}
    assert find_room(name) is None
    assert missed_route(name) in ROUTES


@pytest.mark.parametrize(
    "name",
    ["repo", "repos:x", "Repo:x", "xrepo:x", "repo%3Aüber", "a b", "cxd+x", "lobby", "members"],
)
def test_name_that_begins_like_no_route_has_the_default_options(settings, name):
    settings.PM_REALTIME = {"ROOMS": ROUTES, "DEFAULT_ROOM": {"public": True}}
    assert find_room(name).options.public
    assert missed_route(name) is None


@pytest.mark.parametrize(
    "name", ["repo:name", "repo:team:1", "repo:listed ü", f"doc:{KEY}", "c.d+x/y!", "o/members"]
)
def test_name_that_fits_a_route_or_is_listed_is_missed_by_none(settings, name):
    settings.PM_REALTIME = {"ROOMS": ROUTES}
    assert find_room(name) is not None
    assert missed_route(name) is None


def test_every_name_is_like_a_route_of_nothing_but_a_value(settings):
    settings.PM_REALTIME = {"ROOMS": {"<uuid:key>": {}, "lobby": {}}}
    assert find_room(str(KEY)).kwargs == {"key": KEY}
    assert find_room("lobby") is not None
    assert find_room(str(KEY).upper()) is None
    settings.PM_REALTIME = {"ROOMS": {"<uuid:key>": {}, "<path:other>": {"min_role": "editor"}}}
    assert find_room("any/name").options.min_role == "editor"


def test_time_for_a_long_name_is_bounded(settings):
    route = "/".join(f"<slug:part{number}>" for number in range(12)) + "x"
    settings.PM_REALTIME = {"ROOMS": {route: {}}}
    began = time.perf_counter()
    find_room("/" * 200)
    missed_route("/" * 200)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"public": "False"}, "public"),
        ({"public": 0}, "public"),
        ({"public": 1}, "public"),
        ({"public": None}, "public"),
        ({"min_role": "typo"}, "min_role"),
        ({"min_role": "anonymous"}, "min_role"),
        ({"min_role": ""}, "min_role"),
        ({"min_role": ["admin"]}, "min_role"),
        ({"public": True, "min_role": "typo"}, "min_role"),
        ({"publish_role": "typo"}, "publish_role"),
        ({"publish_role": False}, "publish_role"),
        ({"max_connections": "5"}, "max_connections"),
        ({"max_connections": True}, "max_connections"),
        ({"max_connections": 5.0}, "max_connections"),
        ({"max_connections": 0}, "max_connections"),
        ({"authorize": len}, "authorize"),
        ({"authorize": False}, "authorize"),
        ({"authorize": enum}, "authorize"),
        ({"minrole": "admin"}, "minrole"),
        ({5: 5}, "5"),
        ([("public", False)], ""),
        ("public", ""),
        (None, ""),
    ],
)
def test_invalid_options_refuse_everybody_and_are_logged_once(settings, caplog, options, option):
    rooms = {"good": {"public": True}, "r:<int:pk>": options, "bad": options}
    for key, name in (("bad", "bad"), ("r:<int:pk>", "r:1")):
        settings.PM_REALTIME = {"ROOMS": rooms, "DEFAULT_ROOM": None}
        caplog.clear()
        for _ in range(3):
            with pytest.raises(CommandError) as raised:
                find_room(name)
            assert (raised.value.code, raised.value.room) == (ErrorCode.INTERNAL_ERROR, name)
            assert "PM_REALTIME" not in raised.value.message
        assert find_room("good").options.public
        (record,) = caplog.records
        assert f'PM_REALTIME["ROOMS"][{key!r}]' in record.getMessage()
        assert option in record.getMessage()
        assert record.name == "pm_realtime.room"
    settings.PM_REALTIME = {"ROOMS": {"good": {}}, "DEFAULT_ROOM": options}
    assert find_room("good") is not None
    if options is not None:
        with pytest.raises(CommandError):
            find_room("other")
        assert 'PM_REALTIME["DEFAULT_ROOM"]' in caplog.text


@pytest.mark.parametrize(
    ("keys", "setting"),
    [
        ({"ROOMS": ["lobby"]}, "ROOMS"),
        ({"ROLES": "admin"}, "ROLES"),
        ({"ROOMS": {"r:<nope:pk>": {}}}, "r:<nope:pk>"),
        ({"ROOMS": {"r:int:pk>": {}}}, "r:int:pk>"),
        ({"ROOMS": {"r:<int:pk": {}}}, "r:<int:pk"),
        ({"ROOMS": {("r:1",): {}, "r:<int:pk": {}}}, "r:<int:pk"),
    ],
)
def test_invalid_settings_open_no_room(settings, caplog, keys, setting):
    settings.PM_REALTIME = keys
    with pytest.raises(CommandError) as raised:
        find_room("r:1")
    assert raised.value.code == ErrorCode.INTERNAL_ERROR
    assert setting in caplog.text


@pytest.mark.parametrize(
    "key", [5, ("5", "r:1"), b"5", None, enum.Enum("Kind", {"ROOM": "5"}).ROOM]
)
def test_key_that_is_no_text_leaves_no_other_room_open(settings, caplog, key):
    settings.PM_REALTIME = {"ROOMS": {key: {"min_role": "admin"}, "listed": {}}}
    for name in ("5", "r:1"):
        with pytest.raises(CommandError):
            find_room(name)
    assert f'PM_REALTIME["ROOMS"][{key!r}]' in caplog.text
    assert find_room("listed") is not None


def test_broken_route_closes_only_the_names_that_begin_like_it(settings):
    settings.PM_REALTIME = {"ROOMS": {"a:<int:pk>": {}, "r:<nope:pk>": {}, "r:1": {}}}
    assert find_room("a:1") is not None
    assert find_room("r:1") is not None
    assert find_room("lobby") is not None
    with pytest.raises(CommandError):
        find_room("r:2")


def test_route_applies_once_its_converter_is_registered(settings, monkeypatch):
    settings.PM_REALTIME = {"ROOMS": {"r:<late:pk>": {"public": True}}}
    with pytest.raises(CommandError):
        find_room("r:1")
    monkeypatch.setattr(converters, "REGISTERED_CONVERTERS", {})
    register_converter(converters.IntConverter, "late")
    try:
        assert find_room("r:1").kwargs == {"pk": 1}
    finally:
        converters.get_converters.cache_clear()


def test_option_that_is_corrected_applies_at_once(settings):
    settings.PM_REALTIME = {"ROOMS": {"a": {"public": True}}}
    assert find_room("a").options.public
    settings.PM_REALTIME = {"ROOMS": {"a": {"public": 1}}}
    with pytest.raises(CommandError):
        find_room("a")
    settings.PM_REALTIME["ROOMS"]["a"]["public"] = False
    assert not find_room("a").options.public


def test_names_and_roles_may_be_members_of_an_enum(settings):
    class Names(enum.StrEnum):
        ROOM = "room"
        EDITOR = "editor"

    class Text(str, enum.Enum):  # noqa: UP042 -- its `str()` is "Text.ADMIN"
        ROUTE = "r:<int:pk>"
        ADMIN = "admin"

    rooms = {Names.ROOM: {"min_role": Text.ADMIN}, Text.ROUTE: {"min_role": Names.EDITOR}}
    settings.PM_REALTIME = {"ROOMS": rooms}
    assert find_room("room").options.min_role == "admin"
    assert find_room("r:5") == Room("r:5", RoomOptions(min_role="editor"), {"pk": 5})
