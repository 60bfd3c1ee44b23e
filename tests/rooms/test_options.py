"""A name finds the options of its room, and the options decide who may join and send."""

import enum
import time
import uuid

import pytest
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.conf import Room, RoomOptions, is_route, missed_route, parse_route
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
        (["lobby"], "PM_REALTIME must be a dict"),
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


def test_number_as_the_name_of_a_room_does_not_leave_it_open(settings, caplog):
    settings.PM_REALTIME = {"ROOMS": {5: {"min_role": "admin"}}}
    with pytest.raises(CommandError):
        find_room("5")
    assert 'PM_REALTIME["ROOMS"][5]' in caplog.text


def test_broken_route_closes_only_the_names_that_begin_like_it(settings):
    settings.PM_REALTIME = {"ROOMS": {"a:<int:pk>": {}, "r:<nope:pk>": {}, "r:1": {}}}
    assert find_room("a:1") is not None
    assert find_room("r:1") is not None
    assert find_room("lobby") is not None
    with pytest.raises(CommandError):
        find_room("r:2")


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
