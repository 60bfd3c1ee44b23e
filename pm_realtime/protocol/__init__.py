"""Wire protocol, version 1: message types, codes, envelopes, and their encoding. No I/O."""

from pm_realtime.protocol.envelope import (
    BATCH_SUBPROTOCOL,
    INTERNAL_ERROR,
    SUBPROTOCOL,
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

__all__ = [
    "BATCH_SUBPROTOCOL",
    "INTERNAL_ERROR",
    "SUBPROTOCOL",
    "CloseCode",
    "Command",
    "Envelope",
    "ErrorCode",
    "MessageType",
    "check_room",
    "decode",
    "encode",
    "error_payload",
    "make_envelope",
    "may_reconnect",
]
