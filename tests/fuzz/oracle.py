"""The expected outcome of a frame, found with Python's own ``json`` and code of its own."""

import json
import math
import re
from typing import NamedTuple

from pm_realtime.commands import COMMANDS, read
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import (
    MAX_DEPTH,
    Command,
    ErrorCode,
    decode,
    encode,
    error_payload,
    make_envelope,
)
from tests.fuzz.site import MAX_MESSAGE_BYTES

SEPARATOR = b"\x1e"
BINARY = b"\x00"
#: A frame with deeper brackets is refused, whatever else is wrong with it.
MAX_CHECKED_DEPTH = 500
MAX_ROOM_CHARACTERS = 200
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
SURROGATE = re.compile("[\ud800-\udfff]")


class Outcome(NamedTuple):
    """The command in a frame, or the error code of the answer, and the id of the answer."""

    command: Command | None
    code: str | None
    id: str | None


def frames_of(data):
    """Split an input at RS (0x1e) into frames: binary if they begin with NUL, else text.

    A frame that is not UTF-8 becomes a text with lone surrogates, which no server should produce.
    """
    for part in data.split(SEPARATOR):
        if part.startswith(BINARY):
            yield part[1:]
        else:
            yield part.decode("utf-8", "surrogateescape")


def check_frame(frame, decode=decode):
    """Decode ``frame``, compare the outcome with the expected one, and return it."""
    expected = expected_codes(frame)
    command = None
    try:
        command = decode(frame, max_bytes=MAX_MESSAGE_BYTES)
        read(None, command)
    except CommandError as error:
        check_error(error, expected, frame)
        return Outcome(None, str(error.code), command.id if command else error.id)
    assert expected is None, (expected, command)
    check_command(command, json.loads(frame))
    return Outcome(command, None, command.id)


def check_error(error, expected, frame):
    assert expected is not None, (error, frame)
    code = ErrorCode(error.code)
    assert code in expected, (code, expected, frame)
    assert len(error.message) > 10
    envelope = json.loads(encode(make_envelope("error", error_payload(error), id=error.id)))
    assert envelope["payload"]["code"] == code


def check_command(command, written):
    """Check that ``command`` has the values of the frame, also after encoding it again."""
    assert command.type == written["type"]
    assert command.payload == written.get("payload")
    assert command.id == written.get("id")
    text = encode(make_envelope(command.type, command.payload, id=command.id))
    again = decode(text, max_bytes=10 * MAX_MESSAGE_BYTES)
    assert (again.type, again.payload, again.id) == (command.type, command.payload, command.id)


def expected_codes(frame):
    """Return the possible error codes of ``frame``, or None if it is well-formed."""
    if isinstance(frame, bytes):
        is_too_large = len(frame) > MAX_MESSAGE_BYTES
        return {ErrorCode.MESSAGE_TOO_LARGE if is_too_large else ErrorCode.INVALID_MESSAGE}
    if len(frame.encode(errors="surrogatepass")) > MAX_MESSAGE_BYTES:
        # The size of a lone surrogate in bytes is undefined.
        is_unclear = SURROGATE.search(frame)
        return {ErrorCode.MESSAGE_TOO_LARGE, *([ErrorCode.PARSE_ERROR] if is_unclear else [])}
    if SURROGATE.search(frame):
        return {ErrorCode.PARSE_ERROR}
    if depth_of(frame) > MAX_CHECKED_DEPTH:
        return {ErrorCode.PARSE_ERROR, ErrorCode.INVALID_MESSAGE}
    try:
        written = json.loads(frame, parse_constant=refuse_constant)
    except ValueError:
        return {ErrorCode.PARSE_ERROR}
    return codes_of(written)


def depth_of(frame):
    """Return the largest number of open brackets outside of strings; 0 for few brackets."""
    depth = deepest = 0
    is_text = is_escaped = False
    for character in frame if frame.count("[") + frame.count("{") > MAX_CHECKED_DEPTH else "":
        if is_text:
            is_text = character != '"' or is_escaped
            is_escaped = character == "\\" and not is_escaped
        elif character == '"':
            is_text = True
        else:
            depth += (character in "[{") - (character in "]}")
            deepest = max(deepest, depth)
    return deepest


def refuse_constant(name):
    raise ValueError(name)


def codes_of(written):
    if not is_supported(written) or not is_envelope(written):
        return {ErrorCode.INVALID_MESSAGE}
    if written["type"] not in COMMANDS:
        return {ErrorCode.UNKNOWN_TYPE}
    code = None if written["type"] == "ping" else code_of_payload(written)
    return code and {code}


def code_of_payload(written):
    payload = written.get("payload")
    if not isinstance(payload, dict) or "room" not in payload:
        return ErrorCode.INVALID_PAYLOAD
    if not is_room(payload["room"]):
        return ErrorCode.INVALID_ROOM
    if written["type"] == "message" and "content" not in payload:
        return ErrorCode.INVALID_PAYLOAD
    if written["type"] == "presence" and "state" in payload:
        return None if is_state(payload) else ErrorCode.INVALID_PAYLOAD
    return None


def is_state(payload):
    state, ttl = payload["state"], payload.get("ttl", 1)
    size = len(json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode())
    is_number = type(ttl) in (int, float)
    return isinstance(state, dict | None) and size <= 1024 and is_number and 0 < ttl <= 86_400


def is_supported(value, depth=0):
    """Return whether ``value`` has no infinity, no lone surrogate, and is not too deep."""
    if isinstance(value, str):
        return not SURROGATE.search(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        return depth < MAX_DEPTH and all(is_supported(each, depth + 1) for each in value)
    return True


def is_envelope(written):
    return (
        isinstance(written, dict)
        and isinstance(written.get("type"), str)
        and type(written.get("timestamp")) in (int, float)
        and isinstance(written.get("id", ""), str)
        and isinstance(written.get("room", ""), str)
    )


def is_room(room):
    return (
        isinstance(room, str) and 0 < len(room) <= MAX_ROOM_CHARACTERS and not CONTROL.search(room)
    )
