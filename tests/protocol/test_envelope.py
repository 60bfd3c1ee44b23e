"""The wire protocol: what is written, what is read, and what is refused with which words."""

import dataclasses
import datetime
import json
import time
import uuid
from contextlib import suppress
from decimal import Decimal

import msgspec
import pytest
from django.utils.translation import gettext_lazy, override
from hypothesis import given
from hypothesis import strategies as st

from pm_realtime.exceptions import CommandError, PayloadError, RealtimeError
from pm_realtime.protocol import (
    CloseCode,
    Command,
    Envelope,
    ErrorCode,
    MessageType,
    check_room,
    decode,
    encode,
    error_payload,
    make_envelope,
    may_reconnect,
)
from pm_realtime.protocol.envelope import MAX_DEPTH

MAX_BYTES = 65536

ANY_TEXT = st.text(alphabet=st.characters())  # lone surrogates too
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Texts of UTF-8: half a surrogate pair is no payload.
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def read(frame, max_bytes=MAX_BYTES):
    return decode(frame, max_bytes=max_bytes)


def attempt(function, *args):
    """What ``function`` returns, and the ``CommandError`` it raises; one of them is None."""
    try:
        return function(*args), None
    except CommandError as error:
        return None, error


def refusal(frame, max_bytes=MAX_BYTES):
    _, error = attempt(read, frame, max_bytes)
    assert error is not None, "expected a refusal"
    return error


def frame_of(**fields):
    """A frame of a valid envelope in which ``fields`` are replaced."""
    return json.dumps({"type": "ping", "timestamp": 1, **fields})


def frame_with_payload(text):
    return f'{{"type":"ping","timestamp":1,"payload":{text}}}'


def frame_of_size(size, filler="x"):
    """A valid frame of exactly ``size`` bytes."""
    missing = size - len(frame_with_payload('""').encode())
    count, rest = divmod(missing, len(filler.encode()))
    frame = frame_with_payload(f'"{filler * count}{"x" * rest}"')
    assert len(frame.encode()) == size
    return frame


# --- what goes out


def test_a_full_envelope_is_written_field_by_field():
    envelope = Envelope(
        type="message",
        payload={"a": [1, None]},
        timestamp=1700000000123,
        id="7",
        room="r",
        offset=3,
    )
    assert json.loads(encode(envelope)) == {
        "type": "message",
        "payload": {"a": [1, None]},
        "timestamp": 1700000000123,
        "id": "7",
        "room": "r",
        "offset": 3,
    }


def test_fields_without_a_value_are_not_written():
    assert json.loads(encode(Envelope(type="pong", timestamp=5))) == {
        "type": "pong",
        "timestamp": 5,
    }


@pytest.mark.parametrize("payload", [0, False, "", [], {}])
def test_an_empty_payload_is_written_all_the_same(payload):
    assert json.loads(encode(make_envelope("x", payload)))["payload"] == payload


def test_the_first_offset_is_written_though_it_is_zero():
    assert json.loads(encode(make_envelope("x", offset=0)))["offset"] == 0


def test_make_envelope_stamps_the_time_in_whole_milliseconds():
    before = int(time.time() * 1000)
    timestamp = make_envelope("x").timestamp
    assert isinstance(timestamp, int)
    assert before <= timestamp <= int(time.time() * 1000) + 1


def test_make_envelope_keeps_what_it_is_given():
    envelope = make_envelope("note", {"a": 1}, id="i", room="r", offset=2)
    assert (envelope.type, envelope.payload, envelope.id, envelope.room, envelope.offset) == (
        ("note", {"a": 1}, "i", "r", 2)
    )


def test_a_member_of_message_type_becomes_plain_text():
    assert type(make_envelope(MessageType.PING).type) is str


@pytest.mark.parametrize("wrong", ["", None, 5, b"x", ["x"]])
def test_make_envelope_refuses_a_type_that_is_no_text(wrong):
    with pytest.raises(ValueError, match="type must be a non-empty string"):
        make_envelope(wrong)


@pytest.mark.parametrize("wrong", [5, b"x", True, uuid.UUID(int=1)])
def test_make_envelope_refuses_an_id_that_is_no_text(wrong):
    with pytest.raises(ValueError, match="id must be a string or None"):
        make_envelope("x", id=wrong)


@pytest.mark.parametrize("field", ["type", "payload", "timestamp", "id", "room", "offset"])
def test_an_envelope_cannot_be_changed(field):
    with pytest.raises(AttributeError):
        setattr(make_envelope("x"), field, "other")


def test_an_envelope_with_another_payload_is_a_copy():
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
def test_payloads_that_django_people_pass_are_written(payload, written):
    assert json.loads(encode(make_envelope("x", payload)))["payload"] == written


def test_a_duration_is_written_as_text():
    text = json.loads(encode(make_envelope("x", datetime.timedelta(days=1, seconds=2))))["payload"]
    assert text.startswith("P1D")


def test_a_lazy_translation_is_written_in_the_language_of_the_moment():
    with override("de"):
        assert json.loads(encode(make_envelope("x", gettext_lazy("Yes"))))["payload"] == "Ja"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_lacks_leave_the_frame_valid_json(number):
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
def test_a_payload_that_json_cannot_hold_is_refused_with_the_type_it_was_for(payload):
    with pytest.raises(PayloadError, match="'report' push cannot be written as JSON"):
        encode(make_envelope("report", payload))


def test_a_lone_surrogate_in_any_field_is_a_payload_error():
    for fields in ({"id": "\ud800"}, {"room": "\ud800"}):
        with pytest.raises(PayloadError):
            encode(make_envelope("x", **fields))


def test_payload_error_is_a_value_error_and_a_realtime_error():
    assert issubclass(PayloadError, ValueError)
    assert issubclass(PayloadError, RealtimeError)


@given(payload=JSON_VALUES)
def test_any_json_value_survives_the_wire(payload):
    found = json.loads(encode(make_envelope("x", payload)))
    assert found.get("payload") == payload
    assert set(found) == {"type", "timestamp"} | ({"payload"} if payload is not None else set())


def test_an_error_payload_has_code_message_room_and_details():
    error = CommandError(ErrorCode.RATE_LIMITED, "Slow down.", room="r", retryAfter=5)
    assert error_payload(error) == {
        "code": "RATE_LIMITED",
        "message": "Slow down.",
        "room": "r",
        "retryAfter": 5,
    }


def test_an_error_payload_without_a_room_does_not_name_one():
    error = CommandError(ErrorCode.FORBIDDEN, "No.")
    assert error_payload(error) == {"code": "FORBIDDEN", "message": "No."}
    assert type(error_payload(error)["code"]) is str


# --- what comes in


def test_a_command_is_read_field_by_field():
    frame = json.dumps(
        {
            "type": "message",
            "payload": {"a": 1},
            "timestamp": 1.5,
            "id": "7",
            "room": "r",
            "offset": 2,
        }
    )
    assert read(frame) == Command(type="message", payload={"a": 1}, id="7")


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


def test_of_a_key_given_twice_the_last_counts():
    assert read('{"type":"a","type":"b","timestamp":true,"timestamp":1}').type == "b"


def test_space_around_the_object_is_fine():
    assert read('\r\n\t {"type" : "ping", "timestamp" : 1 } \n').type == "ping"


def test_an_escaped_pair_of_surrogates_is_one_character():
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
def test_what_is_not_json_is_a_parse_error(frame):
    error = refusal(frame)
    assert (error.code, error.id) == (ErrorCode.PARSE_ERROR, None)
    assert error.message.startswith("Expected JSON: ")


@pytest.mark.parametrize("frame", ["null", "true", "1", "1.5", '"ping"', "[]", '[{"type":"ping"}]'])
def test_json_that_is_no_object_is_an_invalid_message(frame):
    error = refusal(frame)
    assert error.code == ErrorCode.INVALID_MESSAGE
    assert error.message == "Expected a JSON object with `type` and `timestamp`."


@pytest.mark.parametrize("frame", [None, b"", b"\xff", b'{"type":"ping","timestamp":1}'])
def test_a_binary_frame_is_an_invalid_message(frame):
    error = refusal(frame)
    assert error.code == ErrorCode.INVALID_MESSAGE
    assert "binary" in error.message


NO_TEXT = [None, True, 0, 1.5, [], {}]
NO_NUMBER = [None, True, False, "1", [], {}]
NO_INTEGER = [None, True, 1.5, "1", [], {}]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("type", wrong) for wrong in NO_TEXT),
        *(("timestamp", wrong) for wrong in NO_NUMBER),
        *(("room", wrong) for wrong in NO_TEXT),
        *(("offset", wrong) for wrong in NO_INTEGER),
    ],
)
def test_a_field_of_a_wrong_type_is_named_and_the_id_echoed(field, wrong):
    error = refusal(frame_of(id="my-id", **{field: wrong}))
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, "my-id")
    assert f"`{field}`" in error.message


@pytest.mark.parametrize("field", ["type", "timestamp"])
def test_a_required_field_that_is_missing_is_named_and_the_id_echoed(field):
    fields = {"type": "ping", "timestamp": 1, "id": "my-id"}
    del fields[field]
    error = refusal(json.dumps(fields))
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, "my-id")
    assert f"`{field}`" in error.message


@pytest.mark.parametrize("wrong", NO_TEXT)
def test_an_id_of_a_wrong_type_is_refused_and_not_echoed(wrong):
    error = refusal(frame_of(id=wrong))
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, None)
    assert "`id`" in error.message


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "1" * 5000, "-" + "1" * 5000, "1" + "0" * 400 + ".5"]
)
def test_a_number_that_no_float_holds_is_an_invalid_message(number):
    assert refusal(frame_with_payload(number)).code == ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "9" * 300])
def test_a_whole_number_of_more_than_64_bits_is_read_and_can_be_written_again(number):
    command = read(frame_with_payload(number))
    assert json.loads(encode(make_envelope("x", command.payload)))["payload"] == int(number)


@pytest.mark.parametrize("text", [r'"\ud800"', r'"a\udfffb"', r'"\ude00\ud83d"', r'{"\ud800":1}'])
def test_half_an_escaped_surrogate_pair_is_json_but_an_invalid_message(text):
    assert refusal(frame_with_payload(text)).code == ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("payload", [r'"\ud800"', "1e999"], ids=["surrogate", "number"])
def test_the_id_of_json_that_is_refused_for_a_part_of_it_is_echoed(payload):
    error = refusal(f'{{"type":"ping","timestamp":1,"id":"my-id","payload":{payload}}}')
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, "my-id")


def test_an_id_with_half_a_surrogate_pair_is_refused_and_not_echoed():
    error = refusal(r'{"type":"ping","timestamp":1,"id":"\ud800"}')
    assert (error.code, error.id) == (ErrorCode.INVALID_MESSAGE, None)


# --- sizes


@pytest.mark.parametrize("filler", ["x", "é", "€", "😀"])
def test_a_frame_of_exactly_the_limit_in_bytes_is_read(filler):
    assert read(frame_of_size(MAX_BYTES, filler)).type == "ping"


@pytest.mark.parametrize("filler", ["x", "é", "€", "😀"])
def test_one_byte_more_than_the_limit_is_too_large(filler):
    error = refusal(frame_of_size(MAX_BYTES + 1, filler))
    assert error.code == ErrorCode.MESSAGE_TOO_LARGE
    assert str(MAX_BYTES) in error.message


@pytest.mark.parametrize("frame", ["x" * 11, "[" * 11, b"x" * 11, "é" * 6, "\ud800" * 11])
def test_size_is_looked_at_before_content(frame):
    assert refusal(frame, max_bytes=10).code == ErrorCode.MESSAGE_TOO_LARGE


# --- nesting


def nested(levels, opening="[", closing="]"):
    """A frame nested ``levels`` deep in all, the envelope being the first."""
    return frame_with_payload(opening * (levels - 1) + closing * (levels - 1))


def test_the_deepest_nesting_allowed_is_read():
    assert MAX_DEPTH == 128
    payload = read(nested(128)).payload
    for _ in range(126):
        (payload,) = payload
    assert payload == []


@pytest.mark.parametrize("levels", [129, 1000, 30000])
def test_nesting_deeper_than_allowed_is_an_invalid_message(levels):
    error = refusal(nested(levels))
    assert error.code == ErrorCode.INVALID_MESSAGE
    assert f"at most {MAX_DEPTH} levels of nesting, got more" in error.message


def test_objects_count_as_nesting_too():
    objects = '{"a":' * 127 + "1" + "}" * 127
    assert read(frame_with_payload(objects)).payload
    deeper = '{"a":' * 128 + "1" + "}" * 128
    assert refusal(frame_with_payload(deeper)).code == ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("levels", [1, 127, 128, 129, 60000])
def test_brackets_that_never_close_are_a_parse_error(levels):
    assert refusal("[" * levels).code == ErrorCode.PARSE_ERROR
    assert refusal('{"a":' * min(levels, 10000)).code == ErrorCode.PARSE_ERROR


@pytest.mark.parametrize("levels", [129, 2000])
@pytest.mark.parametrize("text", ["[", "}", '\\"{', "\\\\"])
def test_deep_nesting_is_no_parse_error_for_brackets_in_a_text(levels, text):
    frame = frame_with_payload("[" * levels + f'"{text}"' + "]" * levels)
    assert refusal(frame).code == ErrorCode.INVALID_MESSAGE


def test_many_brackets_side_by_side_are_no_nesting():
    assert len(read(frame_with_payload("[" + "[]," * 500 + "[]]")).payload) == 501


@pytest.mark.parametrize("text", ["[" * 500, "{" * 500, '\\"' + "[" * 500, "\\\\" * 3 + "[" * 500])
def test_brackets_inside_texts_are_no_nesting(text):
    assert "[" in (payload := read(frame_with_payload(f'"{text}"')).payload) or "{" in payload


def test_brackets_inside_keys_are_no_nesting():
    assert read(frame_with_payload(f'{{"{"[" * 500}":1}}')).payload == {"[" * 500: 1}


# --- whatever comes


def outcome(frame):
    """The error code that answers ``frame``, None where it is a command."""
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
        optional=dict.fromkeys(("payload", "id", "room", "offset", "more"), JSON_VALUES | ANY_TEXT),
    )
)
def test_any_fields_of_an_envelope_are_a_command_or_an_invalid_message(fields):
    if outcome(json.dumps(fields)) is None:
        command = read(json.dumps(fields))
        assert command == Command(
            type=fields["type"], payload=fields.get("payload"), id=fields.get("id")
        )


@given(
    value=JSON_VALUES,
    at=st.integers(min_value=0),
    cut=st.integers(min_value=0, max_value=2),
    put=st.sampled_from(["", "[", "]", "{", "}", '"', "\\", ",", ":", "0", ".", "e", "-", "\x00"]),
)
def test_a_damaged_envelope_is_a_parse_error_exactly_where_it_is_no_json(value, at, cut, put):
    whole = json.dumps({"type": "ping", "timestamp": 1, "payload": value})
    at %= len(whole)
    damaged = whole[:at] + put + whole[at + cut :]
    try:
        json.loads(damaged)
    except ValueError:
        assert outcome(damaged) == ErrorCode.PARSE_ERROR
    else:
        assert outcome(damaged) != ErrorCode.PARSE_ERROR


# --- rooms


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
def test_a_name_of_1_to_200_characters_is_a_room(room):
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
def test_anything_else_is_an_invalid_room(room):
    with pytest.raises(CommandError) as raised:
        check_room(room)
    assert raised.value.code == ErrorCode.INVALID_ROOM
    assert "1 to 200 characters" in raised.value.message


@given(room=ANY_TEXT)
def test_a_room_that_passes_can_be_written_in_an_envelope(room):
    name, error = attempt(check_room, room)
    if error is None:
        assert json.loads(encode(make_envelope("x", room=name)))["room"] == room
    else:
        assert error.code == ErrorCode.INVALID_ROOM


# --- codes


def test_the_error_codes_are_those_of_the_protocol():
    assert [str(code) for code in ErrorCode] == [
        "PARSE_ERROR",
        "INVALID_MESSAGE",
        "UNKNOWN_TYPE",
        "INVALID_PAYLOAD",
        "INVALID_ROOM",
        "AUTH_REQUIRED",
        "FORBIDDEN",
        "NOT_IN_ROOM",
        "ROOM_LIMIT",
        "ROOM_FULL",
        "RATE_LIMITED",
        "MESSAGE_TOO_LARGE",
        "INTERNAL_ERROR",
    ]


def test_only_what_may_pass_by_itself_is_worth_another_try():
    assert {code for code in ErrorCode if code.retry} == {
        ErrorCode.ROOM_FULL,
        ErrorCode.RATE_LIMITED,
        ErrorCode.INTERNAL_ERROR,
    }


def test_the_close_codes_are_those_of_the_protocol():
    assert {code.name: int(code) for code in CloseCode} == {
        "HEARTBEAT_LOST": 4001,
        "TOO_SLOW": 4002,
        "RATE_LIMITED": 4003,
        "RESTARTING": 4012,
        "OVERLOADED": 4013,
        "SESSION_ENDED": 4501,
        "REPLACED": 4502,
        "DISCONNECTED": 4503,
        "USER_GONE": 4504,
        "TOO_MANY_CONNECTIONS": 4505,
    }


@pytest.mark.parametrize(
    "code",
    [
        *(1000, 1001, 1004, 1005, 1006, 1011, 1012, 1013, 1014, 1015),
        *(3000, 4000, 4001, 4002, 4003, 4012, 4013, 4499),
    ],
)
def test_a_client_reconnects_after(code):
    assert may_reconnect(code) is True


@pytest.mark.parametrize(
    "code",
    [1002, 1003, 1007, 1008, 1009, 1010, 4500, 4501, 4502, 4503, 4504, 4505, 4999],
)
def test_a_client_stays_away_after(code):
    assert may_reconnect(code) is False


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 1500])
@pytest.mark.parametrize("end", ["", "\\", '"', "]"])
def test_quotes_without_end_cost_no_more_than_their_length(end, levels):
    # Tried again from each of its quotes, a frame of this length took ten seconds.
    frame = "[" * levels + '"' + '\\"' * 32_000 + end
    began = time.process_time()
    with pytest.raises(CommandError):
        decode(frame, max_bytes=MAX_BYTES)
    assert time.process_time() - began < 1


# What costs


def list_of(number):
    """An envelope as large as it may be, full of ``number``."""
    numbers = ",".join([number] * (60_000 // (len(number) + 1)))
    return f'{{"type":"x","timestamp":1,"id":"a","payload":[{numbers}]}}'


@pytest.mark.parametrize(
    "number", ["1e-320", "-1.5e23", "1.7976931348623157e308", "12e+05", "0e99"]
)
def test_many_numbers_with_exponents_are_read_as_few_are(number):
    payload = decode(list_of(number), max_bytes=65536).payload
    assert set(payload) == {float(number)}


def test_one_number_out_of_range_among_many_is_refused_as_it_is_alone():
    for frame in ('{"id":"a","x":1e999}', list_of("1e10").replace("1e10]", "1e999]")):
        with pytest.raises(CommandError) as raised:
            decode(frame, max_bytes=65536)
        assert (raised.value.code, raised.value.id) == ("INVALID_MESSAGE", "a")


def test_an_integer_of_more_digits_than_python_reads_is_refused_with_its_id():
    with pytest.raises(CommandError) as raised:
        decode(list_of("9" * 5000), max_bytes=65536)
    assert (raised.value.code, raised.value.id) == ("INVALID_MESSAGE", "a")


COSTLY = {
    "numbers": list_of("1e-320"),
    "one too large": list_of("1e-99")[:-2] + ",1e999]}",
    "half of a pair": list_of("1")[:-2] + ',"\\ud800"]}',
    "infinity": list_of("1")[:-2] + ",Infinity]}",
    "lists": list_of("[]"),
    "objects": list_of("{}"),
    "nested": list_of("[" * 120 + "]" * 120),
    "too deep": "[" * 65536,
    "digits": "9" * 65536,
    "text": '"' + "\\u0001" * 10_000,
}


@pytest.mark.parametrize("frame", COSTLY.values(), ids=COSTLY)
def test_no_frame_takes_long(frame):
    """Each takes up to 8 ms or so; numbers with exponents once took 64."""
    costs = []
    for _ in range(5):
        began = time.thread_time()
        with suppress(CommandError):
            decode(frame, max_bytes=65536)
        costs.append(time.thread_time() - began)
    assert min(costs) < 0.03
