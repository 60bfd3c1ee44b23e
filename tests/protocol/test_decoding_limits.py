"""Limits of size and nesting, and the time that decoding takes."""

import time
from contextlib import suppress

import pytest

from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import MAX_DEPTH, ErrorCode, decode
from tests.protocol.frames import MAX_BYTES, frame_of_size, frame_with_payload, read, refusal


@pytest.mark.parametrize("filler", ["x", "é", "€", "😀"])
def test_frame_of_exactly_the_maximum_size_is_read(filler):
    assert read(frame_of_size(MAX_BYTES, filler)).type == "ping"


@pytest.mark.parametrize("filler", ["x", "é", "€", "😀"])
def test_one_byte_more_than_the_maximum_is_too_large(filler):
    error = refusal(frame_of_size(MAX_BYTES + 1, filler))
    assert error.code == ErrorCode.MESSAGE_TOO_LARGE
    assert str(MAX_BYTES) in error.message


@pytest.mark.parametrize("frame", ["x" * 11, "[" * 11, b"x" * 11, "é" * 6, "\ud800" * 11])
def test_size_is_checked_before_content(frame):
    assert refusal(frame, max_bytes=10).code == ErrorCode.MESSAGE_TOO_LARGE


def nested(levels, opening="[", closing="]"):
    """A frame of ``levels`` levels of nesting, with the envelope as the first."""
    return frame_with_payload(opening * (levels - 1) + closing * (levels - 1))


def test_deepest_nesting_allowed_is_read():
    assert MAX_DEPTH == 128
    payload = read(nested(128)).payload
    for _ in range(126):
        (payload,) = payload
    assert payload == []


@pytest.mark.parametrize("levels", [129, 1000, 30000])
def test_deeper_nesting_is_an_invalid_message(levels):
    error = refusal(nested(levels))
    assert error.code == ErrorCode.INVALID_MESSAGE
    assert f"at most {MAX_DEPTH} levels of nesting, got more" in error.message


def test_objects_count_as_nesting():
    objects = '{"a":' * 127 + "1" + "}" * 127
    assert read(frame_with_payload(objects)).payload
    deeper = '{"a":' * 128 + "1" + "}" * 128
    assert refusal(frame_with_payload(deeper)).code == ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("levels", [1, 127, 128, 129, 60000])
def test_unclosed_brackets_are_a_parse_error(levels):
    assert refusal("[" * levels).code == ErrorCode.PARSE_ERROR
    assert refusal('{"a":' * min(levels, 10000)).code == ErrorCode.PARSE_ERROR


@pytest.mark.parametrize("levels", [129, 2000])
@pytest.mark.parametrize("text", ["[", "}", '\\"{', "\\\\"])
def test_brackets_in_a_string_make_deep_nesting_no_parse_error(levels, text):
    frame = frame_with_payload("[" * levels + f'"{text}"' + "]" * levels)
    assert refusal(frame).code == ErrorCode.INVALID_MESSAGE


def test_brackets_side_by_side_are_not_nesting():
    assert len(read(frame_with_payload("[" + "[]," * 500 + "[]]")).payload) == 501


@pytest.mark.parametrize("text", ["[" * 500, "{" * 500, '\\"' + "[" * 500, "\\\\" * 3 + "[" * 500])
def test_brackets_inside_strings_are_not_nesting(text):
    assert "[" in (payload := read(frame_with_payload(f'"{text}"')).payload) or "{" in payload


def test_brackets_inside_keys_are_not_nesting():
    assert read(frame_with_payload(f'{{"{"[" * 500}":1}}')).payload == {"[" * 500: 1}


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 1500])
@pytest.mark.parametrize("end", ["", "\\", '"', "]"])
def test_time_for_unclosed_quotes_is_linear(end, levels):
    # A pattern that backtracks from each quote took ten seconds.
    frame = "[" * levels + '"' + '\\"' * 32_000 + end
    began = time.process_time()
    with pytest.raises(CommandError):
        decode(frame, max_bytes=MAX_BYTES)
    assert time.process_time() - began < 1


def list_of(number):
    """A frame of nearly the maximum size with a list of ``number``."""
    numbers = ",".join([number] * (60_000 // (len(number) + 1)))
    return f'{{"type":"x","timestamp":1,"id":"a","payload":[{numbers}]}}'


@pytest.mark.parametrize(
    "number", ["1e-320", "-1.5e23", "1.7976931348623157e308", "12e+05", "0e99"]
)
def test_many_numbers_with_exponents_are_read(number):
    payload = decode(list_of(number), max_bytes=65536).payload
    assert set(payload) == {float(number)}


def test_one_number_out_of_range_among_many_is_refused():
    for frame in ('{"id":"a","x":1e999}', list_of("1e10").replace("1e10]", "1e999]")):
        with pytest.raises(CommandError) as raised:
            decode(frame, max_bytes=65536)
        assert (raised.value.code, raised.value.id) == ("INVALID_MESSAGE", "a")


def test_integer_of_too_many_digits_is_refused_with_the_id():
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
    """Each takes up to about 8 ms; without the exponent decoder some take 64 ms."""
    costs = []
    for _ in range(5):
        began = time.thread_time()
        with suppress(CommandError):
            decode(frame, max_bytes=65536)
        costs.append(time.thread_time() - began)
    assert min(costs) < 0.03
