"""What must become of a frame, worked out with Python's own ``json`` and by other means."""

import json
import math
import re
from typing import NamedTuple

from pm_realtime.commands import COMMANDS, check_form
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

MARK = 0x1E
BINARY = b"\x00"
#: Levels that every parser follows; what is deeper is refused, whatever else is wrong with it.
FOLLOWED = 500
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
SURROGATE = re.compile("[\ud800-\udfff]")


class RecheckResult(NamedTuple):
    """The command that a frame is, or the code that answers it, with the id to answer with."""

    command: Command | None
    code: str | None
    id: str | None


def frames_of(data):
    """The frames of an input: apart by RS (0x1e), binary where they begin with NUL, else text.

    What is not UTF-8 becomes a text with lone surrogates, as no server should hand on.
    """
    for part in data.split(bytes([MARK])):
        if part.startswith(BINARY):
            yield part[1:]
        else:
            yield part.decode("utf-8", "surrogateescape")


def judge(frame):
    """What comes of ``frame``, held against what must."""
    expected = expected_codes(frame)
    command = None
    try:
        command = decode(frame, max_bytes=MAX_MESSAGE_BYTES)
        check_form(command)
    except CommandError as error:
        check_error(error, expected, frame)
        return RecheckResult(None, str(error.code), command.id if command else error.id)
    assert expected is None, (expected, command)
    check_command(command, json.loads(frame))
    return RecheckResult(command, None, command.id)


def check_error(error, expected, frame):
    assert expected is not None, (error, frame)
    code = ErrorCode(error.code)
    assert code in expected, (code, expected, frame)
    assert len(error.message) > 10
    envelope = json.loads(encode(make_envelope("error", error_payload(error), id=error.id)))
    assert envelope["payload"]["code"] == code


def check_command(command, written):
    """What was understood is what was written, and can be said again."""
    assert command.type == written["type"]
    assert command.payload == written.get("payload")
    assert command.id == written.get("id")
    text = encode(make_envelope(command.type, command.payload, id=command.id))
    again = decode(text, max_bytes=10 * MAX_MESSAGE_BYTES)
    assert (again.type, again.payload, again.id) == (command.type, command.payload, command.id)


def expected_codes(frame):
    """The error codes that may answer ``frame``; None where it is well-formed."""
    if isinstance(frame, bytes):
        is_too_large = len(frame) > MAX_MESSAGE_BYTES
        return {ErrorCode.MESSAGE_TOO_LARGE if is_too_large else ErrorCode.INVALID_MESSAGE}
    if len(frame.encode(errors="surrogatepass")) > MAX_MESSAGE_BYTES:
        # Half of a surrogate pair takes no bytes that anybody could count.
        has_halves = SURROGATE.search(frame)
        return {ErrorCode.MESSAGE_TOO_LARGE, *([ErrorCode.PARSE_ERROR] if has_halves else [])}
    if SURROGATE.search(frame):
        return {ErrorCode.PARSE_ERROR}
    if depth_of(frame) > FOLLOWED:
        return {ErrorCode.PARSE_ERROR, ErrorCode.INVALID_MESSAGE}
    try:
        written = json.loads(frame, parse_constant=refuse_constant)
    except ValueError:
        return {ErrorCode.PARSE_ERROR}
    return codes_of(written)


def depth_of(frame):
    """How many brackets are open at most, those in texts aside."""
    depth = deepest = 0
    is_text = is_escaped = False
    for character in frame if frame.count("[") + frame.count("{") > FOLLOWED else "":
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
    if not is_carried(written) or not is_envelope(written):
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
    return None


def is_carried(value, depth=0):
    """Whether a program can carry ``value`` on: no infinity, no half surrogate, not too deep."""
    if isinstance(value, str):
        return not SURROGATE.search(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        return depth < MAX_DEPTH and all(is_carried(each, depth + 1) for each in value)
    return True


def is_envelope(written):
    return (
        isinstance(written, dict)
        and isinstance(written.get("type"), str)
        and type(written.get("timestamp")) in (int, float)
        and isinstance(written.get("id", ""), str)
        and isinstance(written.get("room", ""), str)
        and type(written.get("offset", 0)) is int
    )


def is_room(room):
    return isinstance(room, str) and 0 < len(room) <= 200 and not CONTROL.search(room)
