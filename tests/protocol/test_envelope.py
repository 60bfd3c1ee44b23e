"""Envelopes of the server: their fields, their encoding, and payloads that are refused."""

import dataclasses
import datetime
import enum
import json
import time
import uuid
from decimal import Decimal

import msgspec
import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, override
from hypothesis import given

from pm_realtime.exceptions import CommandError, PayloadError, RealtimeError
from pm_realtime.protocol import (
    CloseCode,
    Envelope,
    ErrorCode,
    MessageType,
    encode,
    error_payload,
    make_envelope,
)
from tests.protocol.frames import JSON_VALUES


def test_envelope_is_written_field_by_field():
    envelope = Envelope(
        type="message",
        payload={"a": [1, None]},
        timestamp=1700000000123,
        id="7",
        room="r",
        to="user",
    )
    assert json.loads(encode(envelope)) == {
        "type": "message",
        "payload": {"a": [1, None]},
        "timestamp": 1700000000123,
        "id": "7",
        "room": "r",
        "to": "user",
    }


def test_fields_without_a_value_are_not_written():
    assert json.loads(encode(Envelope(type="pong", timestamp=5))) == {
        "type": "pong",
        "timestamp": 5,
    }


@pytest.mark.parametrize("payload", [0, False, "", [], {}])
def test_empty_payload_is_written(payload):
    assert json.loads(encode(make_envelope("x", payload)))["payload"] == payload


def test_make_envelope_sets_the_time_in_whole_milliseconds():
    before = int(time.time() * 1000)
    timestamp = make_envelope("x").timestamp
    assert isinstance(timestamp, int)
    assert before <= timestamp <= int(time.time() * 1000) + 1


def test_make_envelope_keeps_its_arguments():
    envelope = make_envelope("note", {"a": 1}, id="i", room="r", to="all")
    assert (envelope.type, envelope.payload, envelope.id, envelope.room, envelope.to) == (
        ("note", {"a": 1}, "i", "r", "all")
    )


def test_message_type_becomes_a_plain_string():
    assert type(make_envelope(MessageType.PING).type) is str


@pytest.mark.parametrize("wrong", ["", None, 5, b"x", ["x"]])
def test_make_envelope_refuses_a_type_that_is_not_a_string(wrong):
    with pytest.raises(ValueError, match="type must be a non-empty string"):
        make_envelope(wrong)


@pytest.mark.parametrize("wrong", [5, b"x", True, uuid.UUID(int=1)])
def test_make_envelope_refuses_an_id_that_is_not_a_string(wrong):
    with pytest.raises(ValueError, match="id must be a string or None"):
        make_envelope("x", id=wrong)


@pytest.mark.parametrize("field", ["type", "payload", "timestamp", "id", "room", "to"])
def test_envelope_is_immutable(field):
    with pytest.raises(AttributeError):
        setattr(make_envelope("x"), field, "other")


def test_replace_copies_the_envelope():
    envelope = make_envelope("x", 1)
    assert msgspec.structs.replace(envelope, payload=2).payload == 2
    assert envelope.payload == 1


UTC = datetime.UTC


@dataclasses.dataclass
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    ("payload", "written"),
    [
        (datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-02-03T04:05:06Z"),
        (datetime.datetime(2026, 2, 3, 4, 5, 6), "2026-02-03T04:05:06"),
        (datetime.date(2026, 2, 3), "2026-02-03"),
        (datetime.time(4, 5, 6), "04:05:06"),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (gettext_lazy("Yes"), "Yes"),
        ({1}, [1]),
        (frozenset(["a"]), ["a"]),
        ((1, 2), [1, 2]),
        ({1: "a", 2.5: "b"}, {"1": "a", "2.5": "b"}),
        ({uuid.UUID(int=1): 1}, {"00000000-0000-0000-0000-000000000001": 1}),
        ({gettext_lazy("Yes"): 1}, {"Yes": 1}),
        ([{"at": datetime.date(2026, 2, 3)}], [{"at": "2026-02-03"}]),
        (MessageType.PING, "ping"),
        (ErrorCode.FORBIDDEN, "FORBIDDEN"),
        (CloseCode.REPLACED, 4502),
        (Point(1, 2), {"x": 1, "y": 2}),
        (2**70, 2**70),
    ],
    ids=lambda value: type(value).__name__,
)
def test_common_python_types_are_written(payload, written):
    assert json.loads(encode(make_envelope("x", payload)))["payload"] == written


def test_duration_is_written_as_a_string():
    text = json.loads(encode(make_envelope("x", datetime.timedelta(days=1, seconds=2))))["payload"]
    assert text.startswith("P1D")


def test_lazy_translation_is_written_in_the_active_language():
    with override("de"):
        assert json.loads(encode(make_envelope("x", gettext_lazy("Yes"))))["payload"] == "Ja"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_written_as_null(number):
    frame = encode(make_envelope("x", [number]))
    assert json.loads(frame, parse_constant=pytest.fail)["payload"] == [None]


def circular_list():
    circle = []
    circle.append(circle)
    return circle


def circular_dict():
    circle = {}
    circle["self"] = circle
    return circle


@pytest.mark.parametrize(
    "payload",
    [
        object(),
        {"deep": [object()]},
        "\ud800",
        {"\ud800": 1},
        circular_list(),
        circular_dict(),
        (item for item in [1]),
        {(1, 2): 3},
        print,
    ],
    ids=lambda value: type(value).__name__,
)
def test_payload_error_names_the_type_of_the_push(payload):
    with pytest.raises(PayloadError, match="'report' cannot be written as JSON"):
        encode(make_envelope("report", payload))


def test_lone_surrogate_in_any_field_is_a_payload_error():
    for fields in ({"id": "\ud800"}, {"room": "\ud800"}):
        with pytest.raises(PayloadError):
            encode(make_envelope("x", **fields))


def test_payload_error_is_a_value_error_and_a_realtime_error():
    assert issubclass(PayloadError, ValueError)
    assert issubclass(PayloadError, RealtimeError)


@given(payload=JSON_VALUES)
def test_any_json_value_is_written_and_read_unchanged(payload):
    found = json.loads(encode(make_envelope("x", payload)))
    assert found.get("payload") == payload
    assert set(found) == {"type", "timestamp"} | ({"payload"} if payload is not None else set())


def test_error_payload_has_code_message_room_and_details():
    error = CommandError(ErrorCode.RATE_LIMITED, "Slow down.", room="r", retryAfter=5)
    assert error_payload(error) == {
        "code": "RATE_LIMITED",
        "message": "Slow down.",
        "room": "r",
        "retryAfter": 5,
    }


def test_error_payload_has_texts_of_a_site():
    class Code(str, enum.Enum):  # noqa: UP042 - Its `str()` is the name of the member.
        LATE = "LATE"

    error = CommandError(Code.LATE, gettext_lazy("Yes"), room=mark_safe("r"))
    payload = json.loads(encode(make_envelope("error", error_payload(error))))["payload"]
    assert payload == {"code": "LATE", "message": "Yes", "room": "r"}


def test_error_payload_without_a_room_has_no_room():
    error = CommandError(ErrorCode.FORBIDDEN, "No.")
    assert error_payload(error) == {"code": "FORBIDDEN", "message": "No."}
    assert type(error_payload(error)["code"]) is str
