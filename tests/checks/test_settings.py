"""Checks of ``PM_REALTIME``, and of many mistakes at once."""

import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

import pm_realtime
from tests.checks.messages import (
    BAD_PATHS,
    VALID_LAYER,
    only,
)


@pytest.mark.parametrize("layers", [{}, VALID_LAYER])
@pytest.mark.parametrize("pm_realtime", [{}, None])
def test_site_without_own_settings_gets_no_message(check, layers, pm_realtime):
    assert check(pm_realtime, CHANNEL_LAYERS=layers) == []


def test_site_without_the_settings_gets_no_message(check, settings):
    del settings.PM_REALTIME
    del settings.CHANNEL_LAYERS
    assert check() == []


def test_site_with_valid_settings_gets_no_message(check):
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
            CHANNEL_LAYERS={"realtime": VALID_LAYER["default"]},
        )
        == []
    )


@pytest.mark.parametrize("found", [None, [], "text", 5, [("PATH", "ws")]])
def test_e001_setting_is_not_a_dict(check, settings, found):
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
def test_e002_unknown_key(check, key, hint):
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
def test_e003_value_of_wrong_type(check, key, wrong, expected):
    message = only(check({key: wrong}), "E003")
    assert message.msg == (
        f'PM_REALTIME["{key}"] must be {expected}, got {wrong!r} ({type(wrong).__name__}).'
    )
    assert "The default is" in message.hint


@pytest.mark.parametrize(
    "name", ["RATE_LIMIT", "CONNECT_RATE_PER_ADDRESS", "CONNECT_RATE_PER_USER"]
)
@pytest.mark.parametrize("rate", ["60", "60/fortnight", "0/m", "m/60", "sixty/m"])
def test_e005_invalid_rate(check, name, rate):
    message = only(check({name: rate}), "E005")
    assert message.msg.startswith(f'PM_REALTIME["{name}"]: expected a count')
    assert repr(rate) in message.msg


@pytest.mark.parametrize("path", BAD_PATHS)
def test_e007_resolver_does_not_import(check, path):
    message = only(check({"ROLE_RESOLVER": path}), "E007")
    assert message.msg.startswith('PM_REALTIME["ROLE_RESOLVER"]: expected a dotted path that imp')
    assert repr(path) in message.msg


@pytest.mark.parametrize("path", [*BAD_PATHS, "tests.site.rules.calls"])
def test_e020_name_resolver_cannot_be_called(check, path):
    message = only(check({"NAME_RESOLVER": path}), "E020")
    assert message.msg.startswith('PM_REALTIME["NAME_RESOLVER"]: expected ')
    assert repr(path) in message.msg


@pytest.mark.parametrize("name", ["shown_name", "shown_name_async"])
@pytest.mark.parametrize("key", ["ROLE_RESOLVER", "NAME_RESOLVER"])
def test_resolver_may_be_async(check, key, name):
    assert check({key: f"tests.site.rules.{name}"}) == []


def test_e007_resolver_is_not_callable(check):
    message = only(check({"ROLE_RESOLVER": "tests.site.rules.calls"}), "E007")
    assert "expected something callable at 'tests.site.rules.calls'" in message.msg


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
def test_e012_invalid_origin(check, origin, hint):
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
def test_valid_origin_gets_no_message(check, origin):
    assert check({"ALLOWED_ORIGINS": [origin]}) == []


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


def test_check_command_names_every_mistake_at_once(settings):
    settings.CHANNEL_LAYERS = VALID_LAYER
    settings.PM_REALTIME = TEN_MISTAKES
    with pytest.raises(CommandError) as raised:
        call_command("check")
    report = str(raised.value)
    assert [where for where in NAMED if where not in report] == []
    assert [id for id in IDS if f"pm_realtime.{id}" not in report] == []
    assert report.count("HINT:") == len(NAMED)


def test_e002_beginning_of_a_key_gets_a_hint(check):
    assert "'MAX_ROOMS_PER_CONNECTION'" in only(check({"Max_Rooms": 5}), "E002").hint


@pytest.mark.parametrize("value", [5, 0, "five"])
def test_e028_setting_of_an_earlier_version(check, value):
    message = only(check({"RESUME_PERIOD": value}), "E028")
    assert message.msg == "PM_REALTIME['RESUME_PERIOD'] has no effect any more."
    assert "RECOVERY_PERIOD" in message.hint


def test_no_id_is_lost_or_unknown():
    package = Path(pm_realtime.__file__).parent
    sources = "".join(path.read_text() for path in package.rglob("*.py"))
    numbers = set(re.findall(r'"(?:pm_realtime\.)?([EW]\d{3})"', sources))
    first = {f"E{n:03}" for n in range(1, 18)} | {f"W{n:03}" for n in range(1, 10)}
    added = {
        "E020",
        "E023",
        "E026",
        "E028",
        *(f"E{n:03}" for n in range(29, 36)),
        "E037",
        "E038",
        "W021",
        "W022",
        "W023",
        "W024",
        "W027",
        "W029",
        "W030",
        "W031",
        "W032",
        "W036",
        "W039",
    }
    assert numbers == first | added


@pytest.mark.parametrize("name", ["last_logn", "Last_Login", "profile"])
def test_e026_ignored_field_does_not_exist(check, name):
    message = only(check({"RIGHTS_IGNORE": ["password", name]}), "E026")
    assert message.msg == f'PM_REALTIME["RIGHTS_IGNORE"]: the user model has no field {name!r}.'
