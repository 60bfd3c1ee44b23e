"""The frames of one connection as its server reads them, where the server shows them.

An application gets whole messages only. Control frames, and messages in fragments without end, cost
the server as much.
"""

import asyncio
import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

#: A fragment of fewer bytes counts: larger ones soon come to the size limit of a message.
MIN_FRAGMENT_BYTES: Final = 128
#: Messages that daphne may have read before the application has taken them, and the seconds after
#: which it is seen whether it has.
MAX_UNREAD_MESSAGES: Final = 100
UNREAD_SECONDS: Final = 0.02
FIRST_CONTROL_OPCODE: Final = 8
TOO_BIG: Final = 1009

#: Bytes that are parsed before the frames in them are counted.
BYTES_PER_COUNT: Final = 1024
#: Seconds for each further frame of a flood.
FLOOD_FRAME_SECONDS: Final = 1.0

#: Called with the number of frames that were read, and of those among them that no limit of
#: messages counts. True: it is a flood, nothing more of which is to be parsed.
Note = Callable[[int, int], bool]


def watch_frames(protocol: Any, note: Note) -> None:
    """Have ``note`` called for the frames that the server behind ``protocol`` reads."""
    with suppress(AttributeError, TypeError):  # Another server, or another version of it.
        connection: Any = getattr(protocol, "conn", None)
        if hasattr(connection, "events_received"):
            _watch_sansio(connection, note)
        elif hasattr(connection, "events"):
            _watch_wsproto(connection, note)
        elif hasattr(protocol, "read_frame"):
            _watch_legacy(protocol, note)
        elif hasattr(protocol, "onFrameEnd"):
            _watch_autobahn(protocol, note)


def limit_messages(protocol: Any, max_bytes: int) -> None:
    """Have the server refuse a larger message, with 1009, while it still reads it."""
    with suppress(AttributeError, TypeError):
        connection: Any = getattr(protocol, "conn", None)
        if hasattr(connection, "max_message_size"):
            _lower(connection, "max_message_size", max_bytes)
        elif hasattr(connection, "events_received"):  # websockets 15
            _lower(connection, "max_size", max_bytes)
        elif hasattr(connection, "events"):
            _lower(protocol.buffer, "max_length", max_bytes)
        elif hasattr(protocol, "read_frame"):
            _lower(protocol, "max_size", max_bytes)
        elif hasattr(protocol, "onMessageFrameBegin"):
            _limit_autobahn(protocol, max_bytes)


def refuse_compression(protocol: Any) -> None:
    """Have the server agree to no compression in the handshake that is under way."""
    with suppress(AttributeError, TypeError):
        connection: Any = getattr(protocol, "conn", None)
        if hasattr(connection, "events_received"):
            connection.extensions = []
            with suppress(KeyError):
                del protocol.response.headers["Sec-WebSocket-Extensions"]
        elif hasattr(connection, "events"):
            protocol.config = copy.copy(protocol.config)
            protocol.config.ws_per_message_deflate = False
        elif hasattr(protocol, "read_frame"):
            protocol.available_extensions.clear()  # The handshake has this list already.


def _lower(owner: Any, name: str, value: int) -> None:
    setattr(owner, name, min(getattr(owner, name) or value, value))


def _uncounted(opcode: int, is_final: bool, size: int) -> bool:
    """Whether no limit of messages counts a frame."""
    return opcode >= FIRST_CONTROL_OPCODE or (size < MIN_FRAGMENT_BYTES and not is_final)


def _watch_sansio(connection: Any, note: Note) -> None:
    """``--ws websockets-sansio`` of uvicorn."""
    parse, reference, is_flood = type(connection).receive_data, weakref.ref(connection), False

    def receive_data(data: bytes) -> None:
        nonlocal is_flood
        connection: Any = reference()
        size = BYTES_PER_COUNT
        while data and not is_flood:
            seen = len(connection.events)
            parse(connection, data[:size])
            data = data[size:]
            frames = uncounted = 0
            for event in connection.events[seen:]:
                if (opcode := getattr(event, "opcode", None)) is not None:
                    frames += 1
                    uncounted += _uncounted(opcode, event.fin, len(event.data))
            is_flood = note(frames, uncounted)
            # Mostly the rest at once, as each start of the parser costs as much as a frame.
            size = BYTES_PER_COUNT if uncounted else len(data)

    connection.receive_data = receive_data


def _watch_wsproto(connection: Any, note: Note) -> None:
    """``--ws wsproto`` of uvicorn. It parses as the events are taken."""
    read, reference = type(connection).events, weakref.ref(connection)

    def events() -> Iterator[Any]:
        for event in read(reference()):
            yield event
            is_final = getattr(event, "message_finished", None)
            is_small = is_final is None or len(event.data) < MIN_FRAGMENT_BYTES
            if note(1, not is_final and is_small):
                return

    connection.events = events


def _watch_legacy(protocol: Any, note: Note) -> None:
    """``--ws websockets`` of uvicorn."""
    read, reference = type(protocol).read_frame, weakref.ref(protocol)

    async def read_frame(max_size: int | None) -> Any:
        frame = await read(reference(), max_size)
        if note(1, _uncounted(frame.opcode, frame.fin, len(frame.data))):
            await asyncio.sleep(FLOOD_FRAME_SECONDS)
        return frame

    protocol.read_frame = read_frame


def _watch_autobahn(protocol: Any, note: Note) -> None:
    """daphne. By itself it reads on while messages wait for the application."""
    end, reference = type(protocol).onFrameEnd, weakref.ref(protocol)
    unread, is_paused = protocol.application_queue.qsize, False

    def on_frame_end() -> Any:
        nonlocal is_paused
        protocol: Any = reference()
        frame = protocol.current_frame
        if note(1, _uncounted(frame.opcode, frame.fin, frame.length)):
            protocol.data = b""
        elif unread() > MAX_UNREAD_MESSAGES and not is_paused:
            is_paused = True
            protocol.transport.pauseProducing()
            asyncio.get_running_loop().call_later(UNREAD_SECONDS, resume)
        return end(protocol)

    def resume() -> None:
        nonlocal is_paused
        if (protocol := reference()) is None or protocol.state == protocol.STATE_CLOSED:
            return
        if unread() > MAX_UNREAD_MESSAGES // 2:
            asyncio.get_running_loop().call_later(UNREAD_SECONDS, resume)
        else:
            is_paused = False
            protocol.transport.resumeProducing()

    protocol.onFrameEnd = on_frame_end


def _limit_autobahn(protocol: Any, max_bytes: int) -> None:
    """Its own limit, ``maxMessagePayloadSize``, is also one for what the server sends."""
    begin, reference = type(protocol).onMessageFrameBegin, weakref.ref(protocol)

    def on_message_frame_begin(length: int) -> None:
        protocol: Any = reference()
        begin(protocol, length)
        if protocol.message_data_total_length > max_bytes and not protocol.failedByMe:
            protocol.failByDrop = False  # It would close without a code.
            protocol._fail_connection(TOO_BIG, f"over {max_bytes} bytes")
            protocol.failByDrop = True

    protocol.onMessageFrameBegin = on_message_frame_begin
