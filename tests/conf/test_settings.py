"""``PM_REALTIME``: defaults, live reading, and errors for invalid values."""

import types

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from pm_realtime.conf import Conf, conf

DEFAULTS = {
    "PATH": "api/ws",
    "ROLES": ("user", "editor", "admin", "master"),
    "ROLE_RESOLVER": "pm_realtime.roles.resolve_role",
    "NAME_RESOLVER": None,
    "ROOMS": {
        "support": {"min_role": "editor"},
        "admin:notifications": {"min_role": "admin"},
        "system:broadcast": {"min_role": "master"},
    },
    "DEFAULT_ROOM": {},
    "RATE_LIMIT": "60/m",
    "MAX_CONNECTIONS_PER_USER": 5,
    "CONNECTION_LIMIT_POLICY": "close_oldest",
    "MAX_ANONYMOUS_CONNECTIONS": 10_000,
    "CONNECT_RATE_PER_ADDRESS": "1200/m",
    "CONNECT_RATE_PER_USER": "1200/m",
    "PROXIES": None,
    "MAX_ROOMS_PER_CONNECTION": 10,
    "HEARTBEAT_INTERVAL": 30,
    "HEARTBEAT_TIMEOUT": 10,
    "MAX_MESSAGE_BYTES": 65536,
    "MAX_QUEUE_BYTES": 1048576,
    "COMPRESSION": False,
    "BATCH_WINDOW": 10,
    "ALLOW_ANONYMOUS": True,
    "ALLOWED_ORIGINS": None,
    "SESSION_RECHECK_INTERVAL": 60,
    "RIGHTS_IGNORE": ("last_login",),
    "AUTHORIZE_TIMEOUT": 5,
    "SHUTDOWN_PERIOD": 5,
    "RECOVERY_PERIOD": 60,
    "RECOVERY_SIZE": 500,
    "HISTORY_MAX_BYTES": 67_108_864,
    "IDEMPOTENCY_PERIOD": 300,
    "CLIENT": {},
    "CHANNEL_LAYER": "default",
    "BACKEND": None,
    "LOCATION": None,
    "NAMESPACE": "",
    "FAIL_SILENTLY": False,
}

NO_TEXT = [5, None, True, b"x", [], ""]
NO_COUNT = [0, -1, 1.5, "5", True, None]
NO_SECONDS = [0, -1, "30", True, None, float("nan"), float("inf")]
NO_MAPPING = ["x", 5, [("a", {})]]

WRONG = {
    "PATH": [*NO_TEXT, "/", "ws?x=1"],
    "ROLES": [None, "admin", (), [1], ["a", "a"], ["a", ""], {"a", "b"}],
    "ROLE_RESOLVER": NO_TEXT,
    "NAME_RESOLVER": [5, "", True, str],
    "ROOMS": [*NO_MAPPING, None],
    "DEFAULT_ROOM": NO_MAPPING,
    "RATE_LIMIT": [60, "", b"60/m", True],
    "MAX_CONNECTIONS_PER_USER": NO_COUNT,
    "CONNECTION_LIMIT_POLICY": ["close_newest", None, 1, ["refuse"]],
    "MAX_ANONYMOUS_CONNECTIONS": [0, -1, 1.5, "5", True],
    "CONNECT_RATE_PER_ADDRESS": [60, "", b"60/m", True],
    "CONNECT_RATE_PER_USER": [60, "", b"60/m", True],
    "PROXIES": [-1, 1.5, "1", True],
    "MAX_ROOMS_PER_CONNECTION": NO_COUNT,
    "HEARTBEAT_INTERVAL": NO_SECONDS,
    "HEARTBEAT_TIMEOUT": NO_SECONDS,
    "MAX_MESSAGE_BYTES": NO_COUNT,
    "MAX_QUEUE_BYTES": NO_COUNT,
    "COMPRESSION": [1, 0, None, "yes"],
    "BATCH_WINDOW": [-1, 1000.5, "10", True, None, float("nan"), float("inf")],
    "ALLOW_ANONYMOUS": [1, 0, None, "yes"],
    "ALLOWED_ORIGINS": ["https://example.com", [1], [""], 5, True],
    "SESSION_RECHECK_INTERVAL": NO_SECONDS,
    "RIGHTS_IGNORE": ["last_login", [1], [""], 5, None],
    "AUTHORIZE_TIMEOUT": NO_SECONDS,
    "SHUTDOWN_PERIOD": NO_SECONDS,
    "RECOVERY_PERIOD": [*(value for value in NO_SECONDS if value != 0), False],
    "RECOVERY_SIZE": NO_COUNT,
    "HISTORY_MAX_BYTES": NO_COUNT,
    "IDEMPOTENCY_PERIOD": NO_SECONDS,
    "CLIENT": [*NO_MAPPING, None, {"autoConnect": True}, {"nonce": "x"}, {"reconnect": "no"}],
    "CHANNEL_LAYER": NO_TEXT,
    "BACKEND": [5, "", True, dict],
    "LOCATION": [5, "", ["redis://a"]],
    "NAMESPACE": [None, 5, b"shop", ["shop"]],
    "FAIL_SILENTLY": [1, 0, None, "yes"],
}

GOOD = {
    "PATH": ["ws", "/ws/", "a/b/c"],
    "ROLES": [["only"], ("a", "b")],
    "ROLE_RESOLVER": ["tests.site.rules.by_name"],
    "NAME_RESOLVER": [None, "tests.site.rules.shown_name"],
    "ROOMS": [{}, {"a": {}}, types.MappingProxyType({"a": {}})],
    "DEFAULT_ROOM": [None, {"public": True}],
    "RATE_LIMIT": [None, "5/s"],
    "MAX_CONNECTIONS_PER_USER": [1],
    "CONNECTION_LIMIT_POLICY": ["refuse", "close_oldest"],
    "MAX_ANONYMOUS_CONNECTIONS": [None, 1],
    "CONNECT_RATE_PER_ADDRESS": [None, "5/s"],
    "CONNECT_RATE_PER_USER": [None, "5/s"],
    "PROXIES": [None, 0, 2],
    "MAX_ROOMS_PER_CONNECTION": [1, 1000],
    "HEARTBEAT_INTERVAL": [1, 0.5],
    "HEARTBEAT_TIMEOUT": [0.5],
    "MAX_MESSAGE_BYTES": [1],
    "MAX_QUEUE_BYTES": [1],
    "COMPRESSION": [False, True],
    "BATCH_WINDOW": [0, 0.5, 1000],
    "ALLOW_ANONYMOUS": [False, True],
    "ALLOWED_ORIGINS": [[], ["*"], ("https://a",), {"https://a"}],
    "SESSION_RECHECK_INTERVAL": [0.1],
    "RIGHTS_IGNORE": [[], (), ["password"], {"email"}],
    "AUTHORIZE_TIMEOUT": [0.1],
    "SHUTDOWN_PERIOD": [0.1],
    "RECOVERY_PERIOD": [0, 0.1],
    "RECOVERY_SIZE": [1],
    "HISTORY_MAX_BYTES": [1],
    "IDEMPOTENCY_PERIOD": [0.1],
    "CLIENT": [{}, {"auto_connect": True, "max_reconnect_attempts": None}],
    "CHANNEL_LAYER": ["other"],
    "BACKEND": [None, "a.b.C"],
    "LOCATION": [None, "redis://localhost"],
    "NAMESPACE": ["shop", "with space", "{é}:*", "x" * 1000, "\ud800"],
    "FAIL_SILENTLY": [True, False],
}


def pairs(table):
    return [(name, value) for name, values in table.items() for value in values]


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_default_of(name, default):
    with override_settings(PM_REALTIME={}):
        assert getattr(conf, name) == default
        assert type(getattr(conf, name)) is type(default)


def test_there_are_no_other_settings():
    assert list(Conf.settings()) == list(DEFAULTS)


def test_all_defaults_hold_without_the_dict(settings):
    del settings.PM_REALTIME
    assert {name: getattr(conf, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(("name", "value"), pairs(GOOD))
def test_valid_value_is_read_unchanged(name, value):
    with override_settings(PM_REALTIME={name: value}):
        assert getattr(conf, name) is value


@pytest.mark.parametrize(("name", "value"), pairs(WRONG))
def test_error_names_key_expected_and_found_value(name, value):
    with (
        override_settings(PM_REALTIME={name: value}),
        pytest.raises(ImproperlyConfigured) as raised,
    ):
        getattr(conf, name)
    message = str(raised.value)
    assert message.startswith(f'PM_REALTIME["{name}"] must be {vars(Conf)[name].expected}, got ')
    assert message.endswith(f"got {value!r} ({type(value).__name__}).")


def test_every_setting_has_valid_and_invalid_values_here():
    assert set(GOOD) == set(WRONG) == set(DEFAULTS)


def test_invalid_value_does_not_affect_other_keys():
    with override_settings(PM_REALTIME={"PATH": 5, "RATE_LIMIT": "1/s"}):
        assert conf.RATE_LIMIT == "1/s"
        assert conf.MAX_QUEUE_BYTES == 1048576


def test_settings_are_read_live():
    with override_settings(PM_REALTIME={"MAX_ROOMS_PER_CONNECTION": 3}):
        assert conf.MAX_ROOMS_PER_CONNECTION == 3
        with override_settings(PM_REALTIME={"MAX_ROOMS_PER_CONNECTION": 4}):
            assert conf.MAX_ROOMS_PER_CONNECTION == 4
        assert conf.MAX_ROOMS_PER_CONNECTION == 3
    assert conf.MAX_ROOMS_PER_CONNECTION == 10


def test_changes_of_the_dict_in_place_are_read(settings):
    settings.PM_REALTIME = {}
    assert conf.ALLOW_ANONYMOUS is True
    settings.PM_REALTIME["ALLOW_ANONYMOUS"] = False
    assert conf.ALLOW_ANONYMOUS is False


@pytest.mark.parametrize("found", [None, [], "text", 5])
def test_defaults_hold_if_the_setting_is_not_a_dict(found):
    with override_settings(PM_REALTIME=found):
        assert conf.PATH == "api/ws"
