"""An invalid setting lets nobody in that a valid one would keep out, and the log names it once."""

import pytest

from tests.connection.test_gate import knock
from tests.support.helpers import Connection, errors_of

pytestmark = pytest.mark.django_db(transaction=True)


def named_once(caplog, setting):
    (record,) = errors_of(caplog)
    assert f'PM_REALTIME["{setting}"]' in record.getMessage()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("ALLOW_ANONYMOUS", "False"),
        ("ALLOW_ANONYMOUS", 0),
        ("ALLOW_ANONYMOUS", None),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://example.com"),
        ("MAX_ANONYMOUS_CONNECTIONS", "5"),
        ("MAX_ANONYMOUS_CONNECTIONS", True),
        ("CONNECTION_LIMIT_POLICY", "close"),
    ],
)
async def test_handshake_is_refused(configure, caplog, setting, value):
    configure(**{setting: value})
    for _ in range(2):
        connection = Connection(
            headers=[(b"host", b"testserver"), (b"origin", b"http://testserver")]
        )
        assert (await connection.connect())[0]
        await connection.assert_closed(4013)
    named_once(caplog, setting)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("MAX_CONNECTIONS_PER_USER", "5"),
        ("CONNECT_RATE_PER_USER", "60 a minute"),
        ("ROLES", "admin"),
        ("RIGHTS_IGNORE", "last_login"),
        ("ROLE_RESOLVER", "no.such.module"),
        ("ROLE_RESOLVER", 5),
        ("NAME_RESOLVER", "tests.site.rules.missing"),
    ],
)
async def test_handshake_of_a_user_is_refused(configure, caplog, user, setting, value):
    configure(**{setting: value})
    for _ in range(2):
        connection = Connection(user=user)
        with pytest.raises(AssertionError):
            await connection.__aenter__()
    named_once(caplog, setting)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("CONNECT_RATE_PER_ADDRESS", "60 a minute"),
        ("CONNECT_RATE_PER_ADDRESS", 60),
        ("PROXIES", "1"),
        ("PROXIES", True),
    ],
)
async def test_handshake_is_refused_at_the_gate(configure, caplog, setting, value):
    configure(**{setting: value})
    for _ in range(2):
        connection = knock()
        await connection.send_input({"type": "websocket.connect"})
        assert (await connection.receive_output())["type"] == "websocket.accept"
        assert (await connection.receive_output())["code"] == 4013
        await connection.disconnect()
    named_once(caplog, setting)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("RATE_LIMIT", "60 a minute"),
        ("RATE_LIMIT", 60),
        ("MAX_MESSAGE_BYTES", "65536"),
        ("MAX_ROOMS_PER_CONNECTION", True),
        ("ROOMS", ["lobby"]),
        ("AUTHORIZE_TIMEOUT", "5"),
    ],
)
async def test_command_is_refused(configure, caplog, user, setting, value):
    configure(ROOMS={"lobby": {"authorize": "tests.site.rules.is_known"}})
    async with Connection(user=user) as connection:
        configure(**{setting: value})
        for _ in range(3):
            answer = await connection.ask_raw(
                '{"type":"subscribe","timestamp":1,"id":"a","payload":{"room":"lobby"}}'
            )
            assert answer["type"] == "error"
            assert answer["payload"]["code"] == "INTERNAL_ERROR"
            assert setting not in answer["payload"]["message"]
    named_once(caplog, setting)


@pytest.mark.parametrize("found", [None, [], "text", [("ALLOW_ANONYMOUS", False)]])
async def test_handshake_is_refused_if_the_settings_are_no_dict(settings, caplog, found):
    settings.PM_REALTIME = found
    for _ in range(2):
        connection = Connection()
        assert (await connection.connect())[0]
        await connection.assert_closed(4013)
    (record,) = errors_of(caplog)
    assert "PM_REALTIME must be a dict, got" in record.getMessage()


async def test_unknown_setting_is_logged_though_no_check_runs(configure, caplog, user):
    configure(ROOM={"lobby": {"min_role": "admin"}}, allow_anonymous=False)
    for _ in range(2):
        async with Connection(user=user) as connection:
            assert await connection.is_alive()
    messages = [record.getMessage() for record in errors_of(caplog)]
    assert len(messages) == 2
    assert any("PM_REALTIME['ROOM'] is not a setting" in message for message in messages)
    assert any("PM_REALTIME['allow_anonymous'] is not a setting" in message for message in messages)
