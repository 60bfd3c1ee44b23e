"""python-socketio: a message to a room goes to all its members."""

from typing import Any

import socketio

sio = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])
application = socketio.ASGIApp(sio)


@sio.event
async def join(sid: str, room: str) -> None:
    await sio.enter_room(sid, room)


@sio.event
async def message(sid: str, data: dict[str, Any]) -> None:
    await sio.emit("message", data, room=data["room"])
