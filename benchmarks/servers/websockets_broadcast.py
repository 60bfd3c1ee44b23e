"""The server of ``websockets``: ``python -m benchmarks.servers.websockets_broadcast PORT``."""

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.servers.json_rooms import Rooms

rooms: Rooms[ServerConnection] = Rooms()


async def handler(connection: ServerConnection) -> None:
    try:
        async for frame in connection:
            broadcast(*rooms.answer(connection, frame))
    finally:
        rooms.leave(connection)


async def main(port: int) -> None:
    async with serve(handler, "127.0.0.1", port, compression=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
