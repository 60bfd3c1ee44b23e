"""The log of connections: its records and their fields, and the secrets it never has."""

import logging

import pytest
from asgiref.sync import sync_to_async

from pm_realtime import asend_to_room, asend_to_user, asubscribe
from pm_realtime.auth import Rechecker, RecheckResult, set_rechecker
from pm_realtime.protocol import CloseCode
from tests.support.helpers import Connection, eventually
from tests.support.sessions import Browser

STANDARD = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}


@pytest.fixture
def log(caplog):
    """The records of the package so far, each as its logger, level, and fields of its own."""
    caplog.set_level(logging.DEBUG, logger="pm_realtime")

    def read():
        return [
            (record.name, record.levelname, fields_of(record))
            for record in caplog.records
            if record.name.startswith("pm_realtime.")
        ]

    return read


def fields_of(record):
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


def found(log, logger, **fields):
    """The one record of ``logger`` with these ``fields`` among its own."""
    (record,) = [
        (level, own)
        for name, level, own in log()
        if name == f"pm_realtime.{logger}" and fields.items() <= own.items()
    ]
    return record


async def test_life_of_connection_is_logged(log, editor):
    async with Connection(user=editor) as connection:
        about = {"connection_id": connection.connection_id, "user_id": str(editor.pk)}
        await eventually(log)
        assert found(log, "connection", **about, role="editor")[0] == "DEBUG"
        await connection.subscribe("support")
        assert found(log, "room", **about, room="support")[0] == "DEBUG"
        id = await connection.command("subscribe", {"room": "system:broadcast"})
        await connection.assert_error(id, "FORBIDDEN")
        assert found(log, "room", **about, room="system:broadcast", code="FORBIDDEN")
        await connection.ask("unsubscribe", {"room": "support"})
        await connection.disconnect()
    level, own = found(log, "connection", **about, code=1000)
    assert level == "DEBUG"
    assert 0 <= own["seconds"] < 60


async def test_broken_rate_limit_is_logged(log, configure, user):
    configure(RATE_LIMIT="1/m")
    async with Connection(user=user) as connection:
        about = {"connection_id": connection.connection_id, "user_id": str(user.pk)}
        for _ in range(13):
            await connection.command("ping")
        await connection.assert_closed(4003)
        await connection.assert_ended()
    level, _ = found(log, "connection", **about, code=4003)
    assert level == "INFO"
    assert ("pm_realtime.connection", "DEBUG", about) in log()


async def test_refused_connection_is_logged(log, configure, user):
    configure(MAX_CONNECTIONS_PER_USER=1, CONNECTION_LIMIT_POLICY="refuse")
    async with Connection(user=user):
        browser = await Browser.of(user)
        second = Connection(headers=browser.headers)
        await second.connect()
        await second.assert_closed(4505)
    assert found(log, "connection", code=4505)[0] == "INFO"


async def test_revoked_connection_is_logged(log, user):
    browser = await Browser.of(user)
    async with Connection(headers=browser.headers) as connection:
        await browser.log_out()
        await connection.assert_closed(4501)
    about = {"connection_id": connection.connection_id, "user_id": str(user.pk)}
    assert found(log, "auth", **about, code=4501)[0] == "INFO"


async def test_connection_revoked_for_two_reasons_is_logged_once(log, user):
    subjects = []

    class RecordingRechecker(Rechecker):
        def add(self, subject):
            super().add(subject)
            subjects.append(subject)

    set_rechecker(RecordingRechecker())
    async with Connection(user=user) as connection:
        subjects[0].apply(RecheckResult(code=CloseCode.USER_GONE))
        subjects[0].apply(RecheckResult(code=CloseCode.SESSION_ENDED))
        await connection.assert_closed(4504)
    assert found(log, "auth", connection_id=connection.connection_id)[1]["code"] == 4504


async def test_push_is_logged(log, user):
    await asend_to_user(user, "news", {"a": 1})
    level, own = found(log, "push", type="news")
    assert level == "DEBUG"
    assert own["group"].startswith("pm_realtime.user.")


async def test_sessions_and_contents_are_never_logged(log, caplog, user):
    secret = "5ecret"
    browser = await Browser.of(user)
    keys = [browser.key]
    async with Connection(headers=browser.headers) as connection:
        await connection.subscribe("lobby")
        await connection.ask("message", {"room": "lobby", "content": secret})
        await connection.ask_raw(f'{{"type": "{secret}", "timestamp": 1}}')
        await connection.ask_raw(secret)
        await asend_to_room("lobby", "news", {"n": secret})
        await asubscribe(connection.connection_id, "forced")
        await connection.assert_push("news")
        await browser.change_password(secret)
        keys.append(browser.key)
        await connection.is_alive()
        await sync_to_async(user.delete)()
        await connection.assert_closed(4504)
    everything = caplog.text + repr([vars(record) for record in caplog.records])
    for hidden in (secret, *keys):
        assert hidden not in everything
    assert log()
