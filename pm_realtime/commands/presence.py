"""The command ``presence``: a client asks who is in a room, or sets the state of its own member."""

from typing import Any

import msgspec

from pm_realtime.conf import PresenceOptions
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import (
    MAX_STATE_BYTES,
    MAX_STATE_TTL_SECONDS,
    Command,
    ErrorCode,
    MessageType,
)
from pm_realtime.rooms import (
    Connection,
    attach_viewer,
    find_presence,
    own_key,
    prepare_picture,
    set_own_state,
)


def check_state(payload: dict[str, Any]) -> None:
    """Raise ``CommandError`` if ``payload``, which names a room, has a malformed state."""
    if "state" not in payload:
        return
    state, ttl = payload["state"], payload.get("ttl", 1)
    if state is not None and not isinstance(state, dict):
        text, path = "Expected `state` to be an object or null.", "state"
    elif (size := len(msgspec.json.encode(state))) > MAX_STATE_BYTES:
        text = f"Expected `state` to have at most {MAX_STATE_BYTES} bytes of JSON, got {size}."
        path = "state"
    elif type(ttl) not in (int, float) or not 0 < ttl <= MAX_STATE_TTL_SECONDS:
        text = f"Expected `ttl`, where it is given, to be seconds, at most {MAX_STATE_TTL_SECONDS}."
        path = "ttl"
    else:
        return
    raise CommandError(ErrorCode.INVALID_PAYLOAD, text, room=payload["room"], path=path)


async def presence(connection: Connection, command: Command) -> None:
    await connection.until_certain()
    name: str = command.payload["room"]
    _find_presence(connection, name)
    if "state" in command.payload:
        await _set_state(connection, name, command)
    else:
        while not await _tell_members(connection, name, command):
            await connection.until_certain()


def _find_presence(connection: Connection, name: str) -> PresenceOptions:
    """The presence of a joined room. Raises ``CommandError`` if it is not joined, or has none."""
    if name not in connection.rooms:
        text = "Subscribe to the room before asking for its presence."
        raise CommandError(ErrorCode.NOT_IN_ROOM, text, room=name)
    if (options := find_presence(name)) is None:
        raise CommandError(ErrorCode.FORBIDDEN, "This room has no presence.", room=name)
    return options


async def _set_state(connection: Connection, name: str, command: Command) -> None:
    if own_key(connection, name) is None:
        text = "You are not shown in this room, so you have no state there."
        raise CommandError(ErrorCode.FORBIDDEN, text, room=name)
    state = command.payload["state"]
    json_text = None if state is None else msgspec.json.encode(state).decode()
    await set_own_state(connection, name, json_text, command.payload.get("ttl"))
    if command.id is not None:
        connection.reply(MessageType.ACK, {"room": name}, to=command)


async def _tell_members(connection: Connection, name: str, command: Command) -> bool:
    """Answer with the members of the room; False if the rights are in doubt meanwhile."""
    async with connection.room_lock:
        options = _find_presence(connection, name)
        await prepare_picture(name, options)
        if not connection.is_certain:
            return False
        payload = {"room": name, **attach_viewer(connection, name, options)}
        connection.reply(MessageType.PRESENCE, payload, to=command)
        return True
