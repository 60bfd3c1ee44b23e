"""Frames that are not commands are answered with an error, and the connection goes on."""

import pytest

from tests.support.helpers import Connection, assert_envelope, assert_refusal

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def frame(type='"ping"', timestamp="1", **fields):
    """A frame as text, each field given as it stands in JSON."""
    fields = {"type": type, "timestamp": timestamp, **fields}
    return "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items() if text) + "}"


def subscribe_frame(room):
    return frame('"subscribe"', payload=f'{{"room": {room}}}', id='"7"')


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        ("{", "PARSE_ERROR", None),
        ("ping", "PARSE_ERROR", None),
        ("{'type': 'ping', 'timestamp': 1}", "PARSE_ERROR", None),
        ('{"type": "ping", "timestamp": 1,}', "PARSE_ERROR", None),
        ('{"type": "ping", "timestamp": NaN}', "PARSE_ERROR", None),
        (frame() + frame(), "PARSE_ERROR", None),
        ("\ufeff" + frame(), "PARSE_ERROR", None),
        ("null", "INVALID_MESSAGE", None),
        ("[]", "INVALID_MESSAGE", None),
        ("{}", "INVALID_MESSAGE", None),
        ('"ping"', "INVALID_MESSAGE", None),
        ("1", "INVALID_MESSAGE", None),
        (frame(type=None, id='"7"'), "INVALID_MESSAGE", "7"),
        (frame(type="1", id='"7"'), "INVALID_MESSAGE", "7"),
        (frame(type="null"), "INVALID_MESSAGE", None),
        (frame(timestamp=None, id='"7"'), "INVALID_MESSAGE", "7"),
        (frame(timestamp='"1"', id='"7"'), "INVALID_MESSAGE", "7"),
        (frame(timestamp="true"), "INVALID_MESSAGE", None),
        (frame(timestamp="1e999"), "INVALID_MESSAGE", None),
        (frame(id="7"), "INVALID_MESSAGE", None),
        (frame(payload="[" * 200 + "]" * 200), "INVALID_MESSAGE", None),
        (frame(payload='"\\ud800"'), "INVALID_MESSAGE", None),
        (frame('"no such command"', id='"7"'), "UNKNOWN_TYPE", "7"),
        (frame('""', id='"7"'), "UNKNOWN_TYPE", "7"),
        (frame('"pong"'), "UNKNOWN_TYPE", None),
        (frame('"connected"'), "UNKNOWN_TYPE", None),
        (frame('"broadcast"', payload='{"room": "lobby"}'), "UNKNOWN_TYPE", None),
        (frame('"subscribe"', id='"7"'), "INVALID_PAYLOAD", "7"),
        (frame('"subscribe"', payload="[]"), "INVALID_PAYLOAD", None),
        (frame('"subscribe"', payload='"lobby"'), "INVALID_PAYLOAD", None),
        (frame('"subscribe"', payload="{}"), "INVALID_PAYLOAD", None),
        (frame('"subscribe"', room='"lobby"'), "INVALID_PAYLOAD", None),
        (frame('"unsubscribe"', payload="{}"), "INVALID_PAYLOAD", None),
        (frame('"message"', payload='{"content": 1}'), "INVALID_PAYLOAD", None),
        (subscribe_frame("1"), "INVALID_ROOM", "7"),
        (subscribe_frame("null"), "INVALID_ROOM", "7"),
        (subscribe_frame("[]"), "INVALID_ROOM", "7"),
        (subscribe_frame('""'), "INVALID_ROOM", "7"),
        (subscribe_frame('"%s"' % ("é" * 201)), "INVALID_ROOM", "7"),
        (subscribe_frame('"a\\u0000b"'), "INVALID_ROOM", "7"),
        (subscribe_frame('"a\\nb"'), "INVALID_ROOM", "7"),
        (subscribe_frame('"\\u009f"'), "INVALID_ROOM", "7"),
        (frame('"unsubscribe"', payload='{"room": ""}'), "INVALID_ROOM", None),
        (frame('"message"', payload='{"room": "", "content": 1}'), "INVALID_ROOM", None),
    ],
)
async def test_invalid_frame_is_refused_and_the_connection_goes_on(text, code, id):
    async with Connection() as connection:
        assert_refusal(await connection.ask_raw(text), code, id=id)
        assert await connection.is_alive()


async def test_unknown_fields_are_ignored(configure):
    configure(DEFAULT_ROOM={"public": True, "publish_role": "anonymous"})
    async with Connection() as connection:
        payload = '{"room": "lobby", "x": 1}'
        more = {"id": '""', "room": '"other"', "offset": "7", "extra": "[{}]"}
        assert_envelope(
            await connection.ask_raw(frame('"subscribe"', payload=payload, **more)),
            type="subscribed",
            payload={"room": "lobby", "success": True},
            id="",
        )
