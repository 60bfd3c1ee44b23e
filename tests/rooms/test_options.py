"""A name finds the options of its room, and the options decide who may join and send."""

import uuid

import pytest
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.conf import Room, RoomOptions, is_route, parse_route
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import ErrorCode
from pm_realtime.rooms import check_publish, find_room
from pm_realtime.rooms.options import check_join

ROLES = ("user", "editor", "admin", "master")
#: Every kind of user, as the arguments of the checks.
USERS = {
    "anonymous": {"authenticated": False, "role": None},
    "roleless": {"authenticated": True, "role": None},
    **{role: {"authenticated": True, "role": role} for role in ROLES},
}
LOGGED_IN = set(USERS) - {"anonymous"}


def room(**options):
    return Room("a-room", RoomOptions(**options), {})


def code_of(check, room, kind):
    """The error code with which ``check`` refuses ``kind``; None if it does not."""
    try:
        check(room, **USERS[kind])
    except CommandError as error:
        return error.code
    return None


def at_least(role):
    return set(ROLES[ROLES.index(role) :])


@pytest.mark.parametrize(
    ("name", "min_role"),
    [("support", "editor"), ("admin:notifications", "admin"), ("system:broadcast", "master")],
)
def test_default_rooms(name, min_role):
    assert find_room(name) == Room(name, RoomOptions(min_role=min_role), {})


def test_unlisted_room_has_the_options_of_default_room(settings):
    assert find_room("other") == Room("other", RoomOptions(), {})
    settings.PM_REALTIME = {"DEFAULT_ROOM": {"public": True, "max_connections": 3}}
    assert find_room("other").options == RoomOptions(public=True, max_connections=3)
    assert find_room("support").options == RoomOptions(min_role="editor")


def test_without_a_default_only_listed_rooms_exist(settings):
    settings.PM_REALTIME = {"DEFAULT_ROOM": None, "ROOMS": {"a": {}, "b:<int:pk>": {}}}
    assert find_room("a") is not None
    assert find_room("b:1") is not None
    assert find_room("c") is None
    assert find_room("b:x") is None


def test_all_options_are_read(settings):
    options = {
        "min_role": "editor",
        "public": False,
        "publish_role": "server",
        "authorize": "tests.site.rules.even_only",
        "max_connections": 2,
    }
    settings.PM_REALTIME = {"ROOMS": {"all": options}}
    assert find_room("all").options == RoomOptions(**options)


@pytest.mark.parametrize("exact_first", [True, False])
def test_exact_name_beats_a_route_in_either_order(settings, exact_first):
    exact, route = ("project:1", {"min_role": "master"}), ("project:<int:pk>", {})
    settings.PM_REALTIME = {"ROOMS": dict([exact, route] if exact_first else [route, exact])}
    assert find_room("project:1") == Room("project:1", RoomOptions(min_role="master"), {})
    assert find_room("project:2") == Room("project:2", RoomOptions(), {"pk": 2})


def test_first_of_two_matching_routes_counts(settings):
    rooms = {"a:<int:pk>": {"min_role": "user"}, "a:<str:name>": {"min_role": "admin"}}
    settings.PM_REALTIME = {"ROOMS": rooms}
    assert find_room("a:5") == Room("a:5", RoomOptions(min_role="user"), {"pk": 5})
    assert find_room("a:b") == Room("a:b", RoomOptions(min_role="admin"), {"name": "b"})


KEY = uuid.UUID("1234abcd-1234-5678-1234-5678abcdef00")


@pytest.mark.parametrize(
    ("route", "name", "kwargs"),
    [
        ("p:<int:pk>", "p:42", {"pk": 42}),
        ("p:<int:pk>", "p:007", {"pk": 7}),
        ("p:<slug:s>", "p:a-b_c", {"s": "a-b_c"}),
        ("p:<name>", "p:é ü", {"name": "é ü"}),
        ("p:<str:name>", "p:x:y", {"name": "x:y"}),
        ("p:<path:rest>", "p:a/b/c", {"rest": "a/b/c"}),
        ("p:<uuid:key>", f"p:{KEY}", {"key": KEY}),
        ("<str:a>/<int:b>", "x/2", {"a": "x", "b": 2}),
        ("p.(<int:pk>)", "p.(1)", {"pk": 1}),
    ],
)
def test_route_converts_captured_values(settings, route, name, kwargs):
    settings.PM_REALTIME = {"ROOMS": {route: {"min_role": "editor"}}, "DEFAULT_ROOM": None}
    assert find_room(name) == Room(name, RoomOptions(min_role="editor"), kwargs)


@pytest.mark.parametrize(
    ("route", "name"),
    [
        ("p:<int:pk>", "p:"),
        ("p:<int:pk>", "p:-1"),
        ("p:<int:pk>", "p:1x"),
        ("p:<int:pk>", "p:1\n"),
        ("p:<int:pk>", "xp:1"),
        ("p:<int:pk>", "p:٣"),
        ("p:<int:pk>", "P:1"),
        ("p:<str:name>", "p:a/b"),
        ("p:<slug:s>", "p:a b"),
        ("p:<uuid:key>", "p:1234"),
        ("p.<int:pk>", "px1"),
    ],
)
def test_name_must_match_the_whole_route(settings, route, name):
    settings.PM_REALTIME = {"ROOMS": {route: {}}, "DEFAULT_ROOM": None}
    assert find_room(name) is None


def test_changed_setting_applies_at_once(settings):
    settings.PM_REALTIME = {"ROOMS": {"a": {"min_role": "user"}}}
    assert find_room("a").options.min_role == "user"
    settings.PM_REALTIME = {"ROOMS": {"a": {"min_role": "admin"}}}
    assert find_room("a").options.min_role == "admin"


def test_setting_changed_in_place_applies_at_once(settings):
    rooms = {"a": {"min_role": "user"}}
    settings.PM_REALTIME = {"ROOMS": rooms, "DEFAULT_ROOM": None}
    assert find_room("a").options.min_role == "user"
    rooms["a"]["min_role"] = "admin"
    assert find_room("a").options.min_role == "admin"
    rooms["b:<int:pk>"] = {"public": True}
    assert find_room("b:1").options.public is True
    del rooms["a"]
    assert find_room("a") is None


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("support", False),
        ("a:b", False),
        ("a:<int:pk>", True),
        ("<name>", True),
        ("p:<int:pk", True),
        ("p:int:pk>", True),
    ],
)
def test_name_with_angle_brackets_is_a_route(name, answer):
    assert is_route(name) is answer


@pytest.mark.parametrize(
    "route",
    [
        "p:<nope:pk>",
        "p:<int:1pk>",
        "p:<int:a>:<int:a>",
        "p:<int: pk>",
        "p:<int:not-a-name>",
        "p:<int:pk",
        "p:int:pk>",
        "p:<int:pk>>",
        "<<int:pk>",
    ],
)
def test_invalid_route_is_refused(route):
    with pytest.raises(ImproperlyConfigured):
        parse_route(route)


def test_options_are_read_only():
    with pytest.raises(AttributeError):
        find_room("support").options.min_role = "user"


@pytest.mark.parametrize("kind", USERS)
@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, LOGGED_IN),
        ({"public": True}, set(USERS)),
        *(({"min_role": role}, at_least(role)) for role in ROLES),
        *(({"min_role": role, "public": True}, at_least(role) | {"anonymous"}) for role in ROLES),
        ({"publish_role": "server"}, LOGGED_IN),
        ({"publish_role": "master"}, LOGGED_IN),
        ({"max_connections": 1}, LOGGED_IN),
        ({"authorize": "not.looked.at"}, LOGGED_IN),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_options_decide_about_joining(options, allowed, kind):
    refused = ErrorCode.AUTH_REQUIRED if kind == "anonymous" else ErrorCode.FORBIDDEN
    assert code_of(check_join, room(**options), kind) == (None if kind in allowed else refused)


@pytest.mark.parametrize("kind", USERS)
@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize(
    ("publish_role", "allowed"),
    [
        (None, LOGGED_IN),
        ("anonymous", set(USERS)),
        ("server", set()),
        *((role, at_least(role)) for role in ROLES),
    ],
)
def test_publish_role_decides_about_sending(publish_role, public, allowed, kind):
    asked = room(publish_role=publish_role, public=public)
    needs_login = kind == "anonymous" and publish_role != "server"
    refused = ErrorCode.AUTH_REQUIRED if needs_login else ErrorCode.FORBIDDEN
    assert code_of(check_publish, asked, kind) == (None if kind in allowed else refused)


def test_role_called_anonymous_does_not_open_a_room(settings):
    settings.PM_REALTIME = {"ROLES": ["anonymous", "user"]}
    asked = room(publish_role="anonymous")
    assert code_of(check_publish, asked, "anonymous") == ErrorCode.AUTH_REQUIRED
    assert code_of(check_publish, asked, "user") is None
