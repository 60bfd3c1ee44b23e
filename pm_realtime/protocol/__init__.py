"""Wire protocol, version 1: pure encoding and decoding, no I/O.

One JSON object (an envelope) a text frame, both ways. Names on the wire are camelCase.
"""

# fmt: off
from pm_realtime.protocol.codes import (
    BATCH_SUBPROTOCOL, INTERNAL_ERROR, MAX_STATE_BYTES, MAX_STATE_TTL_SECONDS, RESERVED_TYPES,
    SUBPROTOCOL, CloseCode, ErrorCode, MessageType, may_reconnect,
)
from pm_realtime.protocol.decoding import (
    MAX_DEPTH, MAX_EXPONENTS, MAX_ROOM_LENGTH, check_room, decode,
)
from pm_realtime.protocol.envelope import Command, Envelope, encode, error_payload, make_envelope
from pm_realtime.protocol.payloads import to_json, to_json_type

__all__ = [
    "BATCH_SUBPROTOCOL", "CloseCode", "Command", "Envelope", "ErrorCode", "INTERNAL_ERROR",
    "MAX_DEPTH", "MAX_EXPONENTS", "MAX_ROOM_LENGTH", "MAX_STATE_BYTES", "MAX_STATE_TTL_SECONDS",
    "MessageType", "RESERVED_TYPES", "SUBPROTOCOL", "check_room", "decode", "encode",
    "error_payload", "make_envelope", "may_reconnect", "to_json", "to_json_type",
]
# fmt: on
