"""The dialects that more than one system speaks."""

from collections.abc import Sequence
from typing import Any

import msgspec

#: The works of a system that has rooms.
ROOM_WORKS = frozenset({"fan_out", "rooms", "push", "idle"})


class _Payload(msgspec.Struct):
    room: str = ""
    content: str = ""


class _Frame(msgspec.Struct):
    type: str
    payload: _Payload


_FRAMES = msgspec.json.Decoder(_Frame)
_PACKETS = msgspec.json.Decoder(tuple[str, msgspec.Raw])
_MESSAGE = msgspec.json.Decoder(_Payload)


class JSONRooms:
    """A protocol that an application would write itself: JSON objects with a type and a payload.

    ``{"type": "subscribe", "payload": {"room"}}`` is answered with the type ``subscribed``. A
    message has the payload ``{"room", "content"}`` both ways, and from the server a timestamp.
    """

    path = "/ws"
    subprotocols: Sequence[str] = ()
    speaks_first = False

    def opening(self, room: str) -> Sequence[bytes]:
        return (_json("subscribe", {"room": room}),)

    def is_answer(self, frame: bytes) -> bool:
        return _FRAMES.decode(frame).type == "subscribed"

    def publish(self, room: str, body: str) -> bytes:
        return _json("message", {"room": room, "content": body})

    def bodies(self, frame: bytes) -> Sequence[str]:
        found = _FRAMES.decode(frame)
        return (found.payload.content,) if found.type == "message" else ()

    def reply(self, frame: bytes) -> bytes | None:
        return None


class SocketIO:
    """Socket.IO 5 over Engine.IO 4, over a WebSocket only.

    The packets are those of https://socket.io/docs/v4/engine-io-protocol/ and
    https://socket.io/docs/v4/socket-io-protocol/: ``0`` opens, ``2`` and ``3`` are ping and pong,
    ``40`` connects to the namespace, ``42`` is an event and ``43`` acknowledges one. The events are
    ``join`` with the name of a room, and ``message`` with a room and a content. A client must send
    ``40``, because Socket.IO on Node closes others after 45 seconds.
    """

    path = "/socket.io/?EIO=4&transport=websocket"
    subprotocols: Sequence[str] = ()
    speaks_first = True

    def opening(self, room: str) -> Sequence[bytes]:
        return b"40", b"420" + msgspec.json.encode(("join", room))

    def is_answer(self, frame: bytes) -> bool:
        return frame.startswith((b"0", b"40", b"430"))

    def publish(self, room: str, body: str) -> bytes:
        return b"42" + msgspec.json.encode(("message", {"room": room, "content": body}))

    def bodies(self, frame: bytes) -> Sequence[str]:
        if not frame.startswith(b"42["):
            return ()
        event, message = _PACKETS.decode(frame[2:])
        return (_MESSAGE.decode(message).content,) if event == "message" else ()

    def reply(self, frame: bytes) -> bytes | None:
        return b"3" if frame == b"2" else None


def _json(kind: str, payload: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": kind, "payload": payload})
