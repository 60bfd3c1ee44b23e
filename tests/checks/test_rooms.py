"""Checks of ``ROOMS`` and ``DEFAULT_ROOM``."""

import pytest

from tests.checks.messages import (
    BAD_PATHS,
    only,
)


@pytest.mark.parametrize(
    ("option", "wrong", "names"),
    [
        ("min_role", "boss", "user, editor, admin, master"),
        ("min_role", "server", "user, editor, admin, master"),
        ("min_role", ["admin"], "user, editor, admin, master"),
        ("publish_role", "boss", "user, editor, admin, master, server, anonymous"),
        ("publish_role", 5, "user, editor, admin, master, server, anonymous"),
    ],
)
def test_e004_role_is_not_in_roles(check, option, wrong, names):
    message = only(check({"ROOMS": {"a": {option: wrong}}}), "E004")
    where = f"PM_REALTIME[\"ROOMS\"]['a'][{option!r}]"
    assert message.msg == f"{where}: expected one of {names}, got {wrong!r}."


def test_e004_default_rooms_with_other_roles(check):
    found = check({"ROLES": ["guest", "host"]})
    assert [id for id, _ in found] == ["E004"] * 3


def test_e004_in_the_default_room(check):
    message = only(check({"DEFAULT_ROOM": {"min_role": "boss"}}), "E004")
    assert message.msg.startswith("PM_REALTIME[\"DEFAULT_ROOM\"]['min_role']: ")


@pytest.mark.parametrize(
    "route", ["p:<nope:pk>", "p:<int:1pk>", "p:<int:a>:<int:a>", "p:<int:a b>"]
)
def test_e006_route_does_not_parse(check, route):
    message = only(check({"ROOMS": {route: {}}}), "E006")
    assert message.msg.startswith(f'PM_REALTIME["ROOMS"][{route!r}]: expected a Django route')


@pytest.mark.parametrize("name", ["", 5, None, ("a",)])
def test_e006_name_of_room_is_not_a_string(check, name):
    message = only(check({"ROOMS": {name: {}}}), "E006")
    assert message.msg == (
        f'PM_REALTIME["ROOMS"][{name!r}]: expected the name of a room as text, '
        f"got {name!r} ({type(name).__name__})."
    )


@pytest.mark.parametrize("path", BAD_PATHS)
def test_e008_authorize_does_not_import(check, path):
    message = only(check({"ROOMS": {"a": {"authorize": path}}}), "E008")
    assert message.msg.startswith("PM_REALTIME[\"ROOMS\"]['a']['authorize']: expected a dotted")
    assert repr(path) in message.msg


def test_e008_authorize_is_not_callable(check):
    message = only(check({"DEFAULT_ROOM": {"authorize": "tests.site.rules.calls"}}), "E008")
    assert "expected something callable" in message.msg


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("minrole", "Did you mean 'min_role'?"),
        ("max_connection", "Did you mean 'max_connections'?"),
        ("PUBLIC", "Did you mean 'public'?"),
        (
            "xyz",
            "Known are: min_role, public, publish_role, authorize, max_connections, history, "
            "history_ttl, content, on_message, rate, presence.",
        ),
        (5, "Known are: "),
    ],
)
def test_e009_unknown_room_option(check, option, hint):
    message = only(check({"ROOMS": {"a": {option: 1}}}), "E009")
    assert message.msg == f"PM_REALTIME[\"ROOMS\"]['a'][{option!r}] is not a room option."
    assert hint in message.hint


@pytest.mark.parametrize(
    ("option", "wrong", "expected"),
    [
        ("public", "yes", "True or False"),
        ("public", 1, "True or False"),
        ("public", None, "True or False"),
        ("max_connections", 0, "a whole number of at least 1, or None"),
        ("max_connections", "2", "a whole number of at least 1, or None"),
        ("max_connections", True, "a whole number of at least 1, or None"),
        ("history", -1, "a whole number from 0 to 1,000,000, or None"),
        ("history", True, "a whole number from 0 to 1,000,000, or None"),
        ("history", 1.5, "a whole number from 0 to 1,000,000, or None"),
        ("history_ttl", 0, "a number of seconds above 0, or None"),
        ("history_ttl", "60", "a number of seconds above 0, or None"),
        ("authorize", 5, "a dotted path as text, or None"),
    ],
)
def test_e010_room_option_of_wrong_type(check, option, wrong, expected):
    message = only(check({"ROOMS": {"a": {option: wrong}}}), "E010")
    assert message.msg == (
        f"PM_REALTIME[\"ROOMS\"]['a'][{option!r}] must be {expected}, "
        f"got {wrong!r} ({type(wrong).__name__})."
    )


@pytest.mark.parametrize("options", [None, "editor", ["min_role"], True])
def test_e010_options_are_not_a_dict(check, options):
    message = only(check({"ROOMS": {"a": options}}), "E010")
    assert message.msg == (
        f"PM_REALTIME[\"ROOMS\"]['a'] must be a dict of room options, "
        f"got {options!r} ({type(options).__name__})."
    )
    assert "min_role" in message.hint


def test_w006_public_room_with_a_min_role(check):
    message = only(check({"ROOMS": {"a": {"public": True, "min_role": "admin"}}}), "W006")
    assert message.msg.startswith("PM_REALTIME[\"ROOMS\"]['a'] is public and has a min_role")


@pytest.mark.parametrize("route", ["<int:pk>", "<uuid:key>", "<path:rest>"])
def test_w023_route_of_nothing_but_values(check, route):
    message = only(check({"ROOMS": {route: {}}}), "W023")
    assert message.msg.startswith(f'PM_REALTIME["ROOMS"][{route!r}] has no text')
    assert check({"ROOMS": {route: {}}, "DEFAULT_ROOM": None}) == []
    assert check({"ROOMS": {f"x{route}": {}, f"{route}x": {}}}) == []


@pytest.mark.parametrize(
    "broken", [{"ROLES": "admin"}, {"DEFAULT_ROOM": 5}], ids=["ROLES", "DEFAULT_ROOM"]
)
def test_rooms_are_checked_beside_invalid_settings(check, broken):
    rooms = {"a": {"unknown": 1, "public": "yes", "authorize": "no.such"}, "b:<nope:pk>": {}}
    found = [id for id, _ in check({**broken, "ROOMS": rooms})]
    assert sorted(found) == ["E003", "E006", "E008", "E009", "E010"]


def test_default_room_is_checked_if_rooms_are_invalid(check):
    found = [id for id, _ in check({"ROOMS": 5, "DEFAULT_ROOM": {"unknown": 1}})]
    assert sorted(found) == ["E003", "E009"]


def test_e004_role_is_checked_if_roles_are_invalid(check):
    rooms = {"a": {"min_role": "king"}, "b": {"min_role": "boss"}}
    found = dict(check({"ROLES": "boss", "ROOMS": rooms}))
    assert sorted(found) == ["E003", "E004"]
    assert "'king'" in found["E004"].msg


def test_e004_names_each_role_once(check):
    found = dict(check({"ROLES": "user", "ROOMS": {"a": {"min_role": "king"}}}))
    assert found["E004"].msg.count("user") == 1


@pytest.mark.parametrize(
    ("presence", "problem"),
    [
        ("yes", " must be True, False or a dict of options, got 'yes' (str)."),
        (1, " must be True, False or a dict of options, got 1 (int)."),
        (
            {"grac": 5},
            "['grac'] is not an option; there are: per, grace, info, max, see, be_seen.",
        ),
        ({"per": "tab"}, "['per'] must be 'user' or 'connection', got 'tab' (str)."),
        ({"grace": -1}, "['grace'] must be a number of seconds from 0 to 3600, got -1 (int)."),
        ({"grace": True}, "['grace'] must be a number of seconds from 0 to 3600, got True (bool)."),
        ({"max": 1.5}, "['max'] must be a whole number from 0 to 10,000, got 1.5 (float)."),
        ({"info": len}, "['info'] must be a dotted path as text, or None, got"),
        ({"see": "boss"}, "['see'] must be a role, a list of roles, or None; there are: user,"),
        ({"see": []}, "['see'] must be a role, a list of roles, or None; there are: user,"),
        ({"be_seen": ["user", "boss"]}, "['be_seen'] must be a role, a list of roles, or None;"),
    ],
)
def test_e037_presence(check, presence, problem):
    message = only(check({"ROOMS": {"a": {"presence": presence}}}), "E037")
    assert message.msg.startswith(f"PM_REALTIME[\"ROOMS\"]['a']['presence']{problem}")
    assert message.hint.endswith("its default." if isinstance(presence, dict) else "no presence.")


@pytest.mark.parametrize(
    "presence",
    [
        None,
        True,
        False,
        {},
        {"per": "connection", "grace": 0, "max": 0, "see": ["user", "admin"], "be_seen": "editor"},
        {"info": f"{__name__}.describe"},
        {"info": f"{__name__}.adescribe"},
    ],
)
def test_valid_presence(check, presence):
    assert check({"ROOMS": {"a": {"presence": presence}}}) == []


def describe(users): ...


async def adescribe(users, more=None): ...


def describe_one(user, room): ...


@pytest.mark.parametrize("path", BAD_PATHS)
def test_e038_info_does_not_import(check, path):
    message = only(check({"ROOMS": {"a": {"presence": {"info": path}}}}), "E038")
    where = "PM_REALTIME[\"ROOMS\"]['a']['presence']['info']"
    assert message.msg.startswith(f"{where}: expected a dotted")
    assert "such as 'mysite.people.describe'" in message.hint


def test_e038_info_does_not_take_the_users(check):
    path = f"{__name__}.describe_one"
    message = only(check({"DEFAULT_ROOM": {"presence": {"info": path}}}), "E038")
    assert f"{path} cannot be called (missing a required argument: 'room')" in message.msg
    assert "def describe_one(users)" in message.hint
