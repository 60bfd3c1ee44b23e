"""Frames of clients: commands that are read, frames that are refused and with which code."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import (
    Command,
    ErrorCode,
    MessageType,
    check_room,
    encode,
    error_payload,
    make_envelope,
)
from tests.protocol.frames import (
    ANY_TEXT,
    JSON_VALUES,
    attempt,
    frame_of,
    frame_with_payload,
    read,
    refusal,
)


def test_command_is_read_field_by_field():
    frame = json.dumps(
        {
            "type": "message",
            "payload": {"a": 1},
            "timestamp": 1.5,
            "id": "7",
            "room": "r",
            "cursor": 2,
        }
    )
    assert read(frame) == Command(type="message", payload={"a": 1}, id="7", room="r")


def test_payload_and_id_may_be_missing():
    assert read('{"type":"ping","timestamp":1}') == Command(type="ping", payload=None, id=None)


def test_unknown_fields_are_ignored():
    assert read(frame_of(extra={"a": 1}, Type="no")) == Command(type="ping")


@pytest.mark.parametrize("timestamp", [0, -1, 1.5, 1700000000000, 2**70])
def test_any_number_is_a_timestamp(timestamp):
    assert read(frame_of(timestamp=timestamp)).type == "ping"


@pytest.mark.parametrize("payload", [None, True, 1, 1.5, "text", [1], {"a": None}])
def test_any_json_value_is_a_payload(payload):
    assert read(frame_of(payload=payload)).payload == payload


def test_last_of_duplicate_keys_counts():
    assert read('{"type":"a","type":"b","timestamp":true,"timestamp":1}').type == "b"


def test_whitespace_around_the_object_is_allowed():
    assert read('\r\n\t {"type" : "ping", "timestamp" : 1 } \n').type == "ping"


def test_escaped_surrogate_pair_is_one_character():
    assert read(frame_with_payload(r'"\ud83d\ude00"')).payload == "😀"


@pytest.mark.parametrize(
    "frame",
    [
        "",
        " ",
        "{",
        "}",
        "hello",
        "'a'",
        "{'type': 'ping', 'timestamp': 1}",
        '{type: "ping", "timestamp": 1}',
        '{"type":"ping","timestamp":1,}',
        '{"type":"ping","timestamp":1}}',
        '{"type":"ping","timestamp":1} {"type":"ping","timestamp":1}',
        '{"type":"ping" "timestamp":1}',
        '{"type":"ping","timestamp":1',
        '{"type":"ping","timestamp":1e999',
        '{"type":"ping","timestamp":1e999} }',
        '{"type":"ping","timestamp":1,"payload":"never closed}',
        "\ufeff" + '{"type":"ping","timestamp":1}',
        "\x00",
        "// a comment",
        *(
            frame_with_payload(text)
            for text in (
                "NaN",
                "Infinity",
                "-Infinity",
                "nan",
                "undefined",
                "True",
                "+1",
                "01",
                "1.",
                ".5",
                "1e",
                "-",
                "0x1",
                "[1,]",
                "[",
                "]",
                '"\x01"',
                '"\n"',
                r'"\x41"',
                r'"\u12"',
                r'"\ud8"',
                '"\ud800"',
                '"\udfff"',
                '"\\',
            )
        ),
    ],
)
def test_invalid_json_is_a_parse_error(frame):
    error = refusal(frame)
    assert (error.code, error.id) == (ErrorCode.PARSE_ERROR, None)
    assert error.message.startswith("Expected JSON: ")


@pytest.mark.parametrize("frame", ["null", "true", "1", "1.5", '"ping"', "[]", '[{"type":"ping"}]'])
def test_json_other_than_an_object_is_an_invalid_message(frame):
    error = refusal(frame)
    assert error.code == ErrorCode.INVALID_MESSAGE
    assert error.message == "Expected a JSON object with `type` and `timestamp`."


@pytest.mark.parametrize("frame", [None, b"", b"\xff", b'{"type":"ping","timestamp":1}'])
def test_binary_frame_is_an_invalid_message(frame):
    error = refusal(frame)
    assert error.code == ErrorCode.INVALID_MESSAGE
    assert "binary" in error.message


NO_TEXT = [None, True, 0, 1.5, [], {}]
NO_NUMBER = [None, True, False, "1", [], {}]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("type", wrong) for wrong in NO_TEXT),
        *(("timestamp", wrong) for wrong in NO_NUMBER),
        *(("room", wrong) for wrong in NO_TEXT),
    ],
)
def test_field_of_wrong_type_is_named_and_id_is_sent_back(field, wrong):
    error = refusal(frame_of(id="my-id", **{field: wrong}))
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, "my-id")
    assert f"`{field}`" in error.message


@pytest.mark.parametrize("field", ["type", "timestamp"])
def test_missing_required_field_is_named_and_id_is_sent_back(field):
    fields = {"type": "ping", "timestamp": 1, "id": "my-id"}
    del fields[field]
    error = refusal(json.dumps(fields))
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, "my-id")
    assert f"`{field}`" in error.message


@pytest.mark.parametrize("wrong", NO_TEXT)
def test_id_of_wrong_type_is_refused_and_not_sent_back(wrong):
    error = refusal(frame_of(id=wrong))
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, None)
    assert "`id`" in error.message


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "1" * 5000, "-" + "1" * 5000, "1" + "0" * 400 + ".5"]
)
def test_number_out_of_range_is_an_invalid_message(number):
    assert refusal(frame_with_payload(number)).code == ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "9" * 300])
def test_integer_of_more_than_64_bits_can_be_read_and_written(number):
    command = read(frame_with_payload(number))
    assert json.loads(encode(make_envelope("x", command.payload)))["payload"] == int(number)


@pytest.mark.parametrize("text", [r'"\ud800"', r'"a\udfffb"', r'"\ude00\ud83d"', r'{"\ud800":1}'])
def test_half_an_escaped_surrogate_pair_is_an_invalid_message(text):
    assert refusal(frame_with_payload(text)).code == ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("payload", [r'"\ud800"', "1e999"], ids=["surrogate", "number"])
def test_id_of_refused_json_is_sent_back(payload):
    error = refusal(f'{{"type":"ping","timestamp":1,"id":"my-id","payload":{payload}}}')
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, "my-id")


def test_id_with_half_a_surrogate_pair_is_refused_and_not_sent_back():
    error = refusal(r'{"type":"ping","timestamp":1,"id":"\ud800"}')
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, None)


def outcome(frame):
    """The error code that answers ``frame``, None if it is a command."""
    command, error = attempt(read, frame)
    if error is None:
        assert isinstance(command, Command)
        return None
    answer = json.loads(encode(make_envelope("error", error_payload(error), id=error.id)))
    assert answer["payload"]["message"]
    return ErrorCode(answer["payload"]["code"])


@given(frame=st.binary())
def test_any_bytes_are_a_command_error(frame):
    assert outcome(frame) == ErrorCode.INVALID_MESSAGE


@given(frame=ANY_TEXT)
def test_any_text_is_a_command_or_a_command_error(frame):
    outcome(frame)


@given(value=JSON_VALUES)
def test_any_json_is_a_command_or_an_invalid_message(value):
    assert outcome(json.dumps(value)) in (None, ErrorCode.INVALID_MESSAGE)


@given(
    fields=st.fixed_dictionaries(
        {"type": JSON_VALUES | ANY_TEXT, "timestamp": JSON_VALUES},
        optional=dict.fromkeys(("payload", "id", "room", "cursor", "more"), JSON_VALUES | ANY_TEXT),
    )
)
def test_any_fields_of_an_envelope_are_a_command_or_an_invalid_message(fields):
    if outcome(json.dumps(fields)) is None:
        command = read(json.dumps(fields))
        given = {name: fields.get(name) for name in ("type", "payload", "id", "room")}
        assert command == Command(**given)


@given(
    value=JSON_VALUES,
    at=st.integers(min_value=0),
    cut=st.integers(min_value=0, max_value=2),
    put=st.sampled_from(["", "[", "]", "{", "}", '"', "\\", ",", ":", "0", ".", "e", "-", "\x00"]),
)
def test_damaged_envelope_is_a_parse_error_only_if_it_is_not_json(value, at, cut, put):
    whole = json.dumps({"type": "ping", "timestamp": 1, "payload": value})
    at %= len(whole)
    damaged = whole[:at] + put + whole[at + cut :]
    try:
        json.loads(damaged)
    except ValueError:
        assert outcome(damaged) == ErrorCode.PARSE_ERROR
    else:
        assert outcome(damaged) != ErrorCode.PARSE_ERROR


@pytest.mark.parametrize(
    "room",
    [
        "a",
        "r" * 200,
        "😀" * 200,
        "project:123",
        "два слова",
        " ",
        "with space",
        "日本語/部屋?#&<b>",
        "\u200d",
        "\u2028",
        "__proto__",
        MessageType.PING,
    ],
)
def test_name_of_1_to_200_characters_is_a_room(room):
    assert check_room(room) == room


@pytest.mark.parametrize(
    "room",
    [
        "",
        "r" * 201,
        "😀" * 201,
        "\x00",
        "a\x00",
        "line\nbreak",
        "tab\t",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\ud800",
        "a\udfff",
        None,
        True,
        5,
        1.5,
        b"room",
        ["room"],
        {"room": "room"},
    ],
)
def test_other_values_are_an_invalid_room(room):
    with pytest.raises(CommandError) as raised:
        check_room(room)
    assert raised.value.code == ErrorCode.INVALID_ROOM
    assert "1 to 200 characters" in raised.value.message


@given(room=ANY_TEXT)
def test_valid_room_can_be_written_in_an_envelope(room):
    name, error = attempt(check_room, room)
    if error is None:
        assert json.loads(encode(make_envelope("x", room=name)))["room"] == room
    else:
        assert error.code == ErrorCode.INVALID_ROOM
