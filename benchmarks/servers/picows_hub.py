"""The server of picows: ``python -m benchmarks.servers.picows_hub PORT``."""

import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from benchmarks.servers.json_rooms import Rooms

rooms: Rooms[WSTransport] = Rooms()


class Member(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            receivers, text = rooms.answer(transport, frame.get_payload_as_bytes())
            told = text.encode()
            for receiver in receivers:
                receiver.send(WSMsgType.TEXT, told)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        rooms.leave(transport)


async def main(port: int) -> None:
    def listener(request: WSUpgradeRequest) -> WSListener:
        return Member()

    server = await ws_create_server(listener, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
