"""The system checks: each mistake named with what was expected, what was found and a hint."""

import re
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from pm_realtime.backends import backend_path
from pm_realtime.backends.redis import backend as redis_backend
from pm_realtime.checks import checks

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY = "channels.layers.InMemoryChannelLayer"
#: A layer with nothing to say about it.
QUIET_LAYER = {"default": {"BACKEND": PUBSUB, "CONFIG": {"hosts": ["redis://localhost:6379"]}}}

NOT_CALLABLE = "pm_realtime.connection.rate_limits.RateLimiter.PATIENCE"


class NoBackend:
    """Something that imports and can be made, and is no backend."""


def broken_backend():
    raise OSError("nobody at home")


@pytest.fixture
def check(settings):
    """Run the checks of this app under ``PM_REALTIME`` and a layer that is in order."""
    settings.DEBUG = True
    settings.CHANNEL_LAYERS = QUIET_LAYER

    def run(pm_realtime=None, **others):
        if pm_realtime is not None:
            settings.PM_REALTIME = pm_realtime
        for name, value in others.items():
            setattr(settings, name, value)
        found = [(message.id.removeprefix("pm_realtime."), message) for message in ours()]
        for _, message in found:
            assert message.msg.endswith((".", "nobody."))
            assert message.hint
            assert message.is_serious() is message.id.startswith("pm_realtime.E")
        return found

    return run


def ours():
    return [message for message in run_checks() if message.id.startswith("pm_realtime.")]


def only(found, number):
    """The one message there is, which has this number."""
    assert [id for id, _ in found] == [number]
    return found[0][1]


# --- nothing to say


@pytest.mark.parametrize("layers", [{}, QUIET_LAYER])
@pytest.mark.parametrize("pm_realtime", [{}, None])
def test_a_site_that_sets_nothing_gets_no_message(check, layers, pm_realtime):
    assert check(pm_realtime, CHANNEL_LAYERS=layers) == []


def test_a_site_without_the_settings_gets_no_message(check, settings):
    del settings.PM_REALTIME
    del settings.CHANNEL_LAYERS
    assert check() == []


def test_a_site_that_sets_everything_right_gets_no_message(check):
    assert (
        check(
            {
                "PATH": "ws",
                "ROLES": ["guest", "host"],
                "ROLE_RESOLVER": "tests.site.rules.by_name",
                "ROOMS": {
                    "lobby": {"public": True, "max_connections": 100},
                    "project:<int:pk>": {
                        "min_role": "guest",
                        "publish_role": "server",
                        "authorize": "tests.site.rules.even_only",
                    },
                    "quiet": {
                        "min_role": None,
                        "publish_role": None,
                        "authorize": None,
                        "max_connections": None,
                        "public": False,
                    },
                },
                "DEFAULT_ROOM": None,
                "RATE_LIMIT": None,
                "MAX_CONNECTIONS_PER_USER": 1,
                "CONNECTION_LIMIT_POLICY": "refuse",
                "ALLOWED_ORIGINS": [
                    "https://example.com",
                    "http://localhost:3000",
                    "https://*.x.com",
                ],
                "CHANNEL_LAYER": "realtime",
                "BACKEND": "pm_realtime.backends.redis.RedisBackend",
            },
            CHANNEL_LAYERS={"realtime": QUIET_LAYER["default"]},
        )
        == []
    )


# --- the settings


@pytest.mark.parametrize("found", [None, [], "text", 5, [("PATH", "ws")]])
def test_e001_the_whole_is_no_dict(check, settings, found):
    settings.PM_REALTIME = found
    message = only(check(), "E001")
    assert message.msg == f"PM_REALTIME must be a dict, got {found!r} ({type(found).__name__})."


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("RATE_LIMITS", "'RATE_LIMIT'"),
        ("rate_limit", "'RATE_LIMIT'"),
        ("ALLOWED_ORIGIN", "'ALLOWED_ORIGINS'"),
        ("MAX_CONNECTIONS_PER_USERS", "'MAX_CONNECTIONS_PER_USER'"),
        ("XYZ", "Known are: PATH, ROLES"),
        (5, "Known are: PATH, ROLES"),
    ],
)
def test_e002_a_key_that_is_not_there(check, key, hint):
    message = only(check({key: 1}), "E002")
    assert message.msg == f"PM_REALTIME[{key!r}] is not a setting of pm_realtime."
    assert hint in message.hint


@pytest.mark.parametrize(
    ("key", "wrong", "expected"),
    [
        ("PATH", 5, "a URL path such as 'api/ws'"),
        ("ROLES", "admin", "a list of different names, the lowest role first"),
        ("ROLE_RESOLVER", len, "a dotted path as text"),
        ("ROOMS", ["support"], "a dict of room names (or routes) to dicts of options"),
        ("DEFAULT_ROOM", False, "a dict of room options, or None"),
        ("RATE_LIMIT", 60, "a rate such as '60/m', or None"),
        ("MAX_CONNECTIONS_PER_USER", "5", "a whole number of at least 1"),
        ("CONNECTION_LIMIT_POLICY", "close", "'close_oldest' or 'refuse'"),
        ("MAX_ROOMS_PER_CONNECTION", 0, "a whole number of at least 1"),
        ("HEARTBEAT_INTERVAL", "30s", "a number of seconds above 0"),
        ("HEARTBEAT_TIMEOUT", -1, "a number of seconds above 0"),
        ("MAX_MESSAGE_BYTES", 64.5, "a whole number of at least 1 (bytes)"),
        ("MAX_QUEUE_BYTES", None, "a whole number of at least 1 (bytes)"),
        ("BATCH_WINDOW", -1, "a number of milliseconds from 0 to 1000"),
        ("ALLOW_ANONYMOUS", 1, "True or False"),
        ("ALLOWED_ORIGINS", "*", "a list of origins such as 'https://example.com', or None"),
        ("SESSION_RECHECK_INTERVAL", True, "a number of seconds above 0"),
        ("CHANNEL_LAYER", None, "an alias in CHANNEL_LAYERS"),
        ("BACKEND", 5, "a dotted path as text, or None"),
        ("LOCATION", 5, "a Redis URL as text, or None"),
    ],
)
def test_e003_a_value_of_a_wrong_type(check, key, wrong, expected):
    message = only(check({key: wrong}), "E003")
    assert message.msg == (
        f'PM_REALTIME["{key}"] must be {expected}, got {wrong!r} ({type(wrong).__name__}).'
    )
    assert "The default is" in message.hint


@pytest.mark.parametrize(
    ("option", "wrong", "names"),
    [
        ("min_role", "boss", "user, editor, admin, master"),
        ("min_role", "server", "user, editor, admin, master"),
        ("min_role", ["admin"], "user, editor, admin, master"),
        ("publish_role", "boss", "user, editor, admin, master, server"),
        ("publish_role", 5, "user, editor, admin, master, server"),
    ],
)
def test_e004_a_role_that_is_not_in_roles(check, option, wrong, names):
    message = only(check({"ROOMS": {"a": {option: wrong}}}), "E004")
    where = f"PM_REALTIME[\"ROOMS\"]['a'][{option!r}]"
    assert message.msg == f"{where}: expected one of {names}, got {wrong!r}."


def test_e004_the_default_rooms_name_roles_that_other_roles_lack(check):
    found = check({"ROLES": ["guest", "host"]})
    assert [id for id, _ in found] == ["E004"] * 3


def test_e004_in_the_default_room(check):
    message = only(check({"DEFAULT_ROOM": {"min_role": "boss"}}), "E004")
    assert message.msg.startswith("PM_REALTIME[\"DEFAULT_ROOM\"]['min_role']: ")


@pytest.mark.parametrize(
    "name", ["RATE_LIMIT", "CONNECT_RATE_PER_ADDRESS", "CONNECT_RATE_PER_USER"]
)
@pytest.mark.parametrize("rate", ["60", "60/fortnight", "0/m", "m/60", "sixty/m"])
def test_e005_a_rate_that_is_none(check, name, rate):
    message = only(check({name: rate}), "E005")
    assert message.msg.startswith(f'PM_REALTIME["{name}"]: expected a count')
    assert repr(rate) in message.msg


@pytest.mark.parametrize(
    "route", ["p:<nope:pk>", "p:<int:1pk>", "p:<int:a>:<int:a>", "p:<int:a b>"]
)
def test_e006_a_route_that_does_not_parse(check, route):
    message = only(check({"ROOMS": {route: {}}}), "E006")
    assert message.msg.startswith(f'PM_REALTIME["ROOMS"][{route!r}]: expected a Django route')


@pytest.mark.parametrize("name", ["", 5, None, ("a",)])
def test_e006_a_room_whose_name_is_no_text(check, name):
    message = only(check({"ROOMS": {name: {}}}), "E006")
    assert message.msg == (
        f'PM_REALTIME["ROOMS"][{name!r}]: expected the name of a room as text, '
        f"got {name!r} ({type(name).__name__})."
    )


BAD_PATHS = ["no.such.module", "tests.site.rules.missing", "nodots", "a..b"]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_e007_a_resolver_that_does_not_import(check, path):
    message = only(check({"ROLE_RESOLVER": path}), "E007")
    assert message.msg.startswith('PM_REALTIME["ROLE_RESOLVER"]: expected a dotted path that imp')
    assert repr(path) in message.msg


def test_e007_a_resolver_that_cannot_be_called(check):
    message = only(check({"ROLE_RESOLVER": "tests.site.rules.calls"}), "E007")
    assert "expected something callable at 'tests.site.rules.calls'" in message.msg


@pytest.mark.parametrize("path", BAD_PATHS)
def test_e008_an_authorize_that_does_not_import(check, path):
    message = only(check({"ROOMS": {"a": {"authorize": path}}}), "E008")
    assert message.msg.startswith("PM_REALTIME[\"ROOMS\"]['a']['authorize']: expected a dotted")
    assert repr(path) in message.msg


def test_e008_an_authorize_that_cannot_be_called(check):
    message = only(check({"DEFAULT_ROOM": {"authorize": "tests.site.rules.calls"}}), "E008")
    assert "expected something callable" in message.msg


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("minrole", "Did you mean 'min_role'?"),
        ("max_connection", "Did you mean 'max_connections'?"),
        ("PUBLIC", "Did you mean 'public'?"),
        ("xyz", "Known are: min_role, public, publish_role, authorize, max_connections."),
        (5, "Known are: "),
    ],
)
def test_e009_a_room_option_that_is_not_there(check, option, hint):
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
        ("authorize", 5, "a dotted path as text, or None"),
    ],
)
def test_e010_a_room_option_of_a_wrong_type(check, option, wrong, expected):
    message = only(check({"ROOMS": {"a": {option: wrong}}}), "E010")
    assert message.msg == (
        f"PM_REALTIME[\"ROOMS\"]['a'][{option!r}] must be {expected}, "
        f"got {wrong!r} ({type(wrong).__name__})."
    )


@pytest.mark.parametrize("options", [None, "editor", ["min_role"], True])
def test_e010_a_room_whose_options_are_no_dict(check, options):
    message = only(check({"ROOMS": {"a": options}}), "E010")
    assert message.msg == (
        f"PM_REALTIME[\"ROOMS\"]['a'] must be a dict of room options, "
        f"got {options!r} ({type(options).__name__})."
    )
    assert "min_role" in message.hint


def test_e011_a_channel_layer_that_is_not_configured(check):
    message = only(check({"CHANNEL_LAYER": "realtime"}), "E011")
    assert message.msg == "PM_REALTIME[\"CHANNEL_LAYER\"]: 'realtime' is not in CHANNEL_LAYERS."
    assert message.hint == "CHANNEL_LAYERS has: default."


@pytest.mark.parametrize(
    ("origin", "hint"),
    [
        ("example.com", "Did you mean 'https://example.com'?"),
        ("*.example.com", "Did you mean 'https://*.example.com'?"),
        (".example.com", "Did you mean 'https://*.example.com'?"),
        ("https://.example.com", "Did you mean 'https://*.example.com'?"),
        ("//example.com", "Did you mean 'https://example.com'?"),
        ("wss://example.com", "Did you mean 'https://example.com'?"),
        ("ws://example.com:8000", "Did you mean 'http://example.com:8000'?"),
        ("https://example.com/", "Did you mean 'https://example.com'?"),
        ("http://example.com/path", "Did you mean 'http://example.com'?"),
        ("https:example.com", "Did you mean 'https://example.com'?"),
        ("https://", "Write 'https://example.com'"),
        ("https://*", "Write 'https://example.com'"),
        ("https://*example.com", "Write 'https://example.com'"),
        ("https://sub.*.example.com", "Write 'https://example.com'"),
        ("https://example.com?query", "Write 'https://example.com'"),
        ("https://user@example.com", "Write 'https://example.com'"),
        ("https://example.com:99999", "Write 'https://example.com'"),
        ("https://example.com:port", "Write 'https://example.com'"),
        ("https://exam ple.com", "Write 'https://example.com'"),
        ("https://example..com", "Write 'https://example.com'"),
        ("https://[::1", "Write 'https://example.com'"),
        ("https://[example.com]", "Write 'https://example.com'"),
        ("http://[", "Write 'https://example.com'"),
        ("chrome-extension://*", "Write 'https://example.com'"),
        ("null", "Any site can make a page of the origin 'null'"),
    ],
)
def test_e012_an_origin_that_no_page_has(check, origin, hint):
    message = only(check({"ALLOWED_ORIGINS": ["https://fine.com", origin]}), "E012")
    assert message.msg == (
        f'PM_REALTIME["ALLOWED_ORIGINS"]: expected scheme and host, got {origin!r}.'
    )
    assert message.hint.startswith(hint)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "HTTPS://Example.com",
        "https://example.com:8443",
        "https://*.example.com:8443",
        "https://bücher.example",
        "https://*.bücher.example",
        "https://xn--bcher-kva.example",
        "http://[::1]:3000",
        "http://localhost:3000",
        "capacitor://localhost",
        "chrome-extension://abcdef",
        "file://",
    ],
)
def test_an_origin_that_a_page_may_have_is_fine(check, origin):
    assert check({"ALLOWED_ORIGINS": [origin]}) == []


@pytest.mark.parametrize(
    "path",
    [
        "no.such.Backend",
        "pm_realtime.backends.memory.Missing",
        "tests.checks.test_checks.broken_backend",
        "tests.checks.test_checks.NOT_CALLABLE",
        "tests.checks.test_checks.NoBackend",
    ],
)
def test_e013_a_backend_that_cannot_be_made_or_is_none(check, path):
    message = only(check({"BACKEND": path}), "E013")
    assert message.msg.startswith(f'PM_REALTIME["BACKEND"]: {path!r}')


# --- what is around


def test_w001_no_server_for_websockets(check, monkeypatch):
    for module in ("daphne", "uvicorn", "hypercorn", "granian"):
        monkeypatch.setitem(sys.modules, module, None)
    message = only(check({}), "W001")
    assert "daphne, uvicorn, hypercorn, granian" in message.msg
    assert "pip install daphne" in message.hint


@pytest.mark.parametrize(
    "layers", [{}, {"default": {"BACKEND": MEMORY, "CONFIG": {"capacity": 9999}}}]
)
def test_w002_a_layer_in_memory_in_production(check, layers):
    message = only(check({}, DEBUG=False, CHANNEL_LAYERS=layers), "W002")
    assert "in-memory channel layer" in message.msg
    assert PUBSUB in message.hint


def test_a_redis_layer_in_production_is_fine(check):
    assert check({}, DEBUG=False) == []


def layer(backend, **config):
    return {"default": {"BACKEND": backend, "CONFIG": config}}


@pytest.mark.parametrize("backend", [MEMORY, CORE])
@pytest.mark.parametrize(("config", "capacity"), [({}, 100), ({"capacity": 999}, 999)])
def test_w003_a_layer_that_holds_too_few_messages(check, backend, config, capacity):
    hosts = {"hosts": [{"address": "redis://r", "socket_timeout": None}]} if backend == CORE else {}
    message = only(check({}, CHANNEL_LAYERS=layer(backend, **config, **hosts)), "W003")
    assert f"what exceeds {capacity} waiting messages" in message.msg
    assert "1000" in message.hint


def test_w003_a_layer_without_config_holds_too_few(check):
    only(check({}, CHANNEL_LAYERS={"default": {"BACKEND": MEMORY}}), "W003")


@pytest.mark.parametrize("backend", [MEMORY, PUBSUB])
def test_a_layer_of_enough_capacity_is_fine(check, backend):
    assert check({}, CHANNEL_LAYERS=layer(backend, capacity=1000)) == []


URL = "redis://localhost:6379/0"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"hosts": []},
        {"hosts": [URL]},
        {"hosts": [("localhost", 6379)]},
        {"hosts": [f"{URL}?db=1"]},
        {"hosts": [f"{URL}?socket_timeout=5"]},
        {"hosts": [f"{URL}?socket_timeout=0.5"]},
        {"hosts": [{"address": URL}]},
        {"hosts": [{"host": "localhost", "port": 6379}]},
        {"hosts": [{"address": URL, "socket_timeout": 3}]},
        {"hosts": [{"sentinels": [("localhost", 26379)], "master_name": "m"}]},
        {"hosts": [f"{URL}?socket_timeout=30", URL]},
    ],
    ids=str,
)
def test_w004_a_socket_that_gives_up_before_the_layer_does(check, config):
    message = only(check({}, CHANNEL_LAYERS=layer(CORE, capacity=1000, **config)), "W004")
    assert "RedisChannelLayer waits 5 s" in message.msg
    assert "?socket_timeout=30" in message.hint
    assert '"socket_timeout": None' in message.hint
    assert PUBSUB in message.hint


@pytest.mark.parametrize(
    "hosts",
    [
        [f"{URL}?socket_timeout=30"],
        [f"{URL}?db=1&socket_timeout=30.5"],
        [{"address": URL, "socket_timeout": None}],
        [{"address": URL, "socket_timeout": 30}],
        [{"address": f"{URL}?socket_timeout=30"}],
        [{"host": "localhost", "port": 6379, "socket_timeout": None}],
        [f"{URL}?socket_timeout=30", {"address": URL, "socket_timeout": None}],
    ],
    ids=str,
)
def test_a_socket_that_outlasts_the_layer_is_fine(check, hosts):
    assert check({}, CHANNEL_LAYERS=layer(CORE, capacity=1000, hosts=hosts)) == []


def test_the_socket_timeout_does_not_matter_to_pubsub(check):
    assert check({}, CHANNEL_LAYERS=layer(PUBSUB, hosts=[f"{URL}?socket_timeout=1"])) == []


@pytest.fixture
def daphne_listed(monkeypatch):
    """``INSTALLED_APPS`` names daphne; the app itself, which changes its process, is not loaded."""
    apps = ["daphne", *django_settings.INSTALLED_APPS]
    monkeypatch.setattr(django_settings, "INSTALLED_APPS", apps)


@pytest.mark.usefixtures("daphne_listed")
@pytest.mark.parametrize("application", [None, ""])
def test_w005_daphne_without_an_application(check, application):
    message = only(check({}, ASGI_APPLICATION=application), "W005")
    assert "ASGI_APPLICATION is not set" in message.msg


@pytest.mark.usefixtures("daphne_listed")
def test_daphne_with_an_application_is_fine(check):
    assert check({}) == []


def test_w006_a_public_room_that_asks_for_a_role(check):
    message = only(check({"ROOMS": {"a": {"public": True, "min_role": "admin"}}}), "W006")
    assert message.msg.startswith("PM_REALTIME[\"ROOMS\"]['a'] is public and has a min_role")


def test_a_broken_alias_leaves_the_layer_alone_until_it_is_mended(check):
    only(check({"CHANNEL_LAYER": 5}, DEBUG=False, CHANNEL_LAYERS={}), "E003")


# --- many mistakes at once

TEN_MISTAKES = {
    "MAX_CONNECTION_PER_USER": 5,
    "PATH": 5,
    "RATE_LIMIT": "60/fortnight",
    "ROLE_RESOLVER": "no.such.resolver",
    "ALLOWED_ORIGINS": ["example.com"],
    "HEARTBEAT_INTERVAL": "30",
    "CHANNEL_LAYER": "realtime",
    "BACKEND": "no.such.Backend",
    "ROOMS": {"project:<integer:pk>": {}, "staff": {"min_role": "boss", "authorise": "x.y"}},
    "DEFAULT_ROOM": {"public": "yes", "authorize": "no.such.rule"},
}
NAMED = [
    "PM_REALTIME['MAX_CONNECTION_PER_USER']",
    'PM_REALTIME["PATH"]',
    'PM_REALTIME["RATE_LIMIT"]',
    'PM_REALTIME["ROLE_RESOLVER"]',
    'PM_REALTIME["ALLOWED_ORIGINS"]',
    'PM_REALTIME["HEARTBEAT_INTERVAL"]',
    'PM_REALTIME["CHANNEL_LAYER"]',
    'PM_REALTIME["BACKEND"]',
    "PM_REALTIME[\"ROOMS\"]['project:<integer:pk>']",
    "PM_REALTIME[\"ROOMS\"]['staff']['min_role']",
    "PM_REALTIME[\"ROOMS\"]['staff']['authorise']",
    "PM_REALTIME[\"DEFAULT_ROOM\"]['public']",
    "PM_REALTIME[\"DEFAULT_ROOM\"]['authorize']",
]
IDS = [
    "E002",
    "E003",
    "E004",
    "E005",
    "E006",
    "E007",
    "E008",
    "E009",
    "E010",
    "E011",
    "E012",
    "E013",
]


def test_one_run_of_the_command_names_every_mistake(settings):
    settings.CHANNEL_LAYERS = QUIET_LAYER
    settings.PM_REALTIME = TEN_MISTAKES
    with pytest.raises(CommandError) as raised:
        call_command("check")
    report = str(raised.value)
    assert [where for where in NAMED if where not in report] == []
    assert [id for id in IDS if f"pm_realtime.{id}" not in report] == []
    assert report.count("HINT:") == len(NAMED)


@pytest.mark.parametrize(
    "broken", [{"ROLES": "admin"}, {"DEFAULT_ROOM": 5}], ids=["ROLES", "DEFAULT_ROOM"]
)
def test_a_broken_neighbour_does_not_hide_the_mistakes_in_rooms(check, broken):
    rooms = {"a": {"unknown": 1, "public": "yes", "authorize": "no.such"}, "b:<nope:pk>": {}}
    found = [id for id, _ in check({**broken, "ROOMS": rooms})]
    assert sorted(found) == ["E003", "E006", "E008", "E009", "E010"]


def test_broken_rooms_do_not_hide_the_mistakes_in_the_default_room(check):
    found = [id for id, _ in check({"ROOMS": 5, "DEFAULT_ROOM": {"unknown": 1}})]
    assert sorted(found) == ["E003", "E009"]


def test_e011_an_alias_that_nothing_configures(check):
    message = only(check({"CHANNEL_LAYER": "zzz"}, CHANNEL_LAYERS={}), "E011")
    assert "'zzz'" in message.msg
    assert "nothing" in message.hint


def test_e004_a_role_is_checked_though_roles_are_broken(check):
    rooms = {"a": {"min_role": "king"}, "b": {"min_role": "boss"}}
    found = dict(check({"ROLES": "boss", "ROOMS": rooms}))
    assert sorted(found) == ["E003", "E004"]
    assert "'king'" in found["E004"].msg


def test_e002_the_beginning_of_a_key_is_enough_for_a_hint(check):
    assert "'MAX_ROOMS_PER_CONNECTION'" in only(check({"Max_Rooms": 5}), "E002").hint


@pytest.mark.parametrize("layers", [[1], {"default": {"BACKEND": MEMORY, "CONFIG": None}}])
def test_channel_layers_that_are_none_do_not_end_the_check(check, layers):
    check({}, CHANNEL_LAYERS=layers)


def test_e004_names_each_role_once(check):
    found = dict(check({"ROLES": "user", "ROOMS": {"a": {"min_role": "king"}}}))
    assert found["E004"].msg.count("user") == 1


def test_w007_a_location_without_a_layer_that_reaches_it(check):
    message = only(check({"LOCATION": URL}, CHANNEL_LAYERS={}), "W007")
    assert PUBSUB in message.hint
    assert "RedisBackend" in message.hint


@pytest.mark.parametrize("more", [{}, {"BACKEND": "pm_realtime.backends.redis.RedisBackend"}])
def test_a_location_that_is_used_is_fine(check, more):
    layers = {} if more else layer(PUBSUB, hosts=["redis://localhost:1"])
    assert check({"LOCATION": URL, **more}, CHANNEL_LAYERS=layers) == []


def entry(**keys):
    return {"default": keys}


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("channels_redis.pubsub.RedisPubSubChannelLayr", PUBSUB),
        ("channels_redis.cor.RedisChannelLayer", CORE),
        ("channel_redis.core.RedisChannelLayer", CORE),
        ("channels.layer.InMemoryChannelLayer", MEMORY),
    ],
)
@pytest.mark.parametrize("more", [{}, {"LOCATION": URL}], ids=["", "LOCATION"])
def test_e017_a_layer_that_cannot_be_imported(check, path, nearest, more):
    message = only(check(more, CHANNEL_LAYERS=entry(BACKEND=path, CONFIG={})), "E017")
    start = f'CHANNEL_LAYERS["default"]["BACKEND"] cannot be imported: \'{path}\' ('
    assert message.msg.startswith(start)
    assert message.hint == f"Did you mean '{nearest}'?"


@pytest.mark.parametrize("package", ["channels_redis", "redis"])
@pytest.mark.parametrize("path", [PUBSUB, CORE])
def test_e017_says_what_to_install(check, monkeypatch, package, path):
    for name in [name for name in sys.modules if name.split(".")[0] in ("channels_redis", package)]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    if package == "redis":
        monkeypatch.setattr("pm_realtime.backends.redis.backend.is_installed", False)
    message = only(check({"LOCATION": URL}, CHANNEL_LAYERS=entry(BACKEND=path)), "E017")
    assert message.hint == "pip install pm-realtime[redis]"
    assert backend_path().endswith("RedisBackend")


@pytest.mark.parametrize("keys", [{"CONFIG": {}}, {"BACKEND": None}, {"BACKEND": ""}, {}])
def test_e017_a_layer_without_a_backend(check, keys):
    message = only(check({}, CHANNEL_LAYERS=entry(**keys)), "E017")
    assert message.msg == 'CHANNEL_LAYERS["default"]["BACKEND"] is missing.'
    assert PUBSUB in message.hint


@pytest.mark.parametrize("path", [5, ["x"], b"x", "json.decoder", "tests.checks.test_checks.URL"])
def test_e017_a_backend_that_is_no_layer(check, path):
    only(check({}, CHANNEL_LAYERS=entry(BACKEND=path)), "E017")


HOSTS = 'CHANNEL_LAYERS["default"]["CONFIG"]["hosts"]'
SECRET = "s3cret"


@pytest.mark.parametrize(
    ("hosts", "where", "found"),
    [
        ([URL, "nonsense"], "[1]", "'nonsense'"),
        ([URL, URL, "http://host"], "[2]", "'http://host'"),
        ([6379], "[0]", "6379 (int)"),
        ([None], "[0]", "None (NoneType)"),
        ([b"redis://localhost"], "[0]", "(bytes)"),
        ([("host",)], "[0]", "1 of the two"),
        ([("host", "abc")], "[0]", "'abc'"),
        ([("host", None)], "[0]", "None"),
        ([{"bogus": 1}], "[0]", "'bogus'"),
        ([{"address": 5}], "[0]", "5 (int)"),
        ([{"master_name": "main"}], "[0]", "'sentinels' is missing"),
        ([{"master_name": "main", "sentinels": 5}], "[0]", "'sentinels'"),
        ([f"{URL}?bogus=1"], "[0]", "'bogus'"),
        ([f"{URL}?db=x"], "[0]", "'db'"),
        ([f"redis://:{SECRET}/x@host:1"], "[0]", "its port is no number"),
        ([f"redis://:{SECRET}"], "[0]", "its port is no number"),
        ([f"redis//:{SECRET}@host:1"], "[0]", "***@host:1"),
        ([f"redis://[?password={SECRET}"], "[0]", "password=***"),
        ([{"address": URL, "password": SECRET, "bogus": 1}], "[0]", "'bogus'"),
        ("redis://localhost", "", "str"),
        (("127.0.0.1", 6379), "", "one pair"),
        (["127.0.0.1", 6379], "", "one pair"),
        ({"address": URL}, "", "dict"),
        (6379, "", "int"),
    ],
    ids=str,
)
@pytest.mark.parametrize("more", [{}, {"LOCATION": URL}], ids=["", "LOCATION"])
def test_e016_hosts_that_cannot_be_used(check, more, hosts, where, found):
    layers = {path: layer(path, capacity=1000, hosts=hosts) for path in (CORE, PUBSUB)}
    of_core = [id for id, _ in check(more, CHANNEL_LAYERS=layers[CORE])]
    assert [id for id in of_core if id != "W004"] == ["E016"]
    message = only(check(more, CHANNEL_LAYERS=layers[PUBSUB]), "E016")
    assert message.msg.startswith(f"{HOSTS}{where}: ")
    assert found in message.msg
    assert "LOCATION" not in message.msg + message.hint
    assert SECRET not in message.msg + message.hint
    assert '"redis://localhost:6379/0"' in message.hint


def test_e016_names_every_wrong_host(check):
    found = check({}, CHANNEL_LAYERS=layer(PUBSUB, hosts=["a", URL, "b"]))
    assert [message.msg.partition(":")[0] for _, message in found] == [f"{HOSTS}[0]", f"{HOSTS}[2]"]


def test_e016_hosts_of_a_layer_with_the_state_in_memory(check):
    path = "pm_realtime.backends.memory.MemoryBackend"
    found = check({"BACKEND": path}, CHANNEL_LAYERS=layer(PUBSUB, hosts=["nonsense"]))
    assert [id for id, _ in found] == ["E016", "W009"]


@pytest.mark.parametrize("location", ["nonsense", f"redis://:{SECRET}/@h:1", "redis://h?bogus=1"])
def test_e016_a_location_that_cannot_be_used(check, location):
    message = only(check({"LOCATION": location}), "E016")
    assert message.msg.startswith('PM_REALTIME["LOCATION"]: ')
    assert SECRET not in message.msg
    assert "LOCATION" in message.hint


@pytest.mark.parametrize("found", ["text", None, 5, []])
def test_e011_a_layer_that_is_no_dict(check, found):
    message = only(check({}, CHANNEL_LAYERS={"default": found}), "E011")
    assert message.msg == (
        'CHANNEL_LAYERS["default"] must be a dict with the key BACKEND, '
        f"got one of type {type(found).__name__}."
    )
    assert PUBSUB in message.hint


@pytest.mark.parametrize("found", ["text", None, 5, [1]])
def test_e011_layers_that_are_no_dict(check, found):
    message = only(check({}, CHANNEL_LAYERS=found), "E011")
    assert message.msg == f"CHANNEL_LAYERS must be a dict, got {type(found).__name__}."


@pytest.mark.parametrize("path", [PUBSUB, CORE, MEMORY])
@pytest.mark.parametrize("config", [["x"], None, 5, "text"])
def test_e011_a_config_that_is_no_dict(check, path, config):
    found = check({}, CHANNEL_LAYERS=entry(BACKEND=path, CONFIG=config))
    (message,) = [message for id, message in found if id.startswith("E")]
    assert message.id == "pm_realtime.E011"
    assert message.msg.startswith('CHANNEL_LAYERS["default"]["CONFIG"] must be a dict')


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("hosts", "\"CONFIG\": {'hosts': ...}"),
        ("config", "Did you mean 'CONFIG'?"),
        ("CONFG", "Did you mean 'CONFIG'?"),
        ("ROUTING", "Known are: BACKEND, CONFIG, TEST_CONFIG."),
        (5, "Known are: BACKEND"),
    ],
)
def test_w008_a_key_of_a_layer_that_channels_does_not_read(check, key, hint):
    message = only(check({}, CHANNEL_LAYERS={"default": {"BACKEND": PUBSUB, key: [URL]}}), "W008")
    assert message.msg == f'CHANNEL_LAYERS["default"][{key!r}] has no meaning to Channels.'
    assert hint in message.hint


def test_the_configuration_of_tests_is_fine(check):
    assert check({}, CHANNEL_LAYERS=entry(BACKEND=PUBSUB, CONFIG={}, TEST_CONFIG={})) == []


def test_w009_the_state_in_memory_beside_a_layer_on_redis(check):
    path = "pm_realtime.backends.memory.MemoryBackend"
    message = only(check({"BACKEND": path}), "W009")
    assert "in each process by itself" in message.msg
    assert check({"BACKEND": path}, CHANNEL_LAYERS={}) == []


def test_w007_gives_the_setting_as_the_reason_where_it_is(check):
    path = "pm_realtime.backends.memory.MemoryBackend"
    found = dict(check({"BACKEND": path, "LOCATION": URL}))
    assert sorted(found) == ["W007", "W009"]
    assert "because BACKEND says so" in found["W007"].msg


def test_every_id_has_one_place():
    source = Path(checks.__file__).read_text() + Path(redis_backend.__file__).read_text()
    numbers = re.findall(r'"(?:pm_realtime\.)?([EW]\d{3})"', source)
    assert {*numbers} == {f"E{n:03}" for n in range(1, 18)} | {f"W{n:03}" for n in range(1, 10)}
