"""Connections of the load generator, each a member of one room's tally."""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.load.tally import NOTHING, Tally
from benchmarks.systems.base import Dialect, System

CONCURRENT_CONNECTS = 50
#: Attempts for a connection that is refused, a second apart.
CONNECT_ATTEMPTS = 3
#: For a handshake, and for an answer.
ANSWER_TIMEOUT_SECONDS = 60


class Socket(WSListener):
    """One connection. A frame that its room has seen before is not parsed again."""

    def __init__(self, tally: Tally, dialect: Dialect) -> None:
        super().__init__()
        self.tally, self.dialect = tally, dialect
        self.position = 0
        self.transport: WSTransport | None = None
        self.answer: asyncio.Future[None] | None = None
        self.fragments = b""
        self.is_open = False
        self.closed_with: object = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.is_open = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        data = frame.get_payload_as_bytes()
        tally = self.tally
        span = tally.spans.get(data)
        position = self.position
        if span is None or span[0] != position:
            self._take(transport, frame, data)
            return
        # This is Tally.move in the case without a fault, inlined because it is hot.
        self.position = after = span[1]
        at = tally.at
        at[after] = at.get(after, 0) + 1
        left = at[position] - 1
        at[position] = left
        if not left and position == tally.oldest:
            tally.advance()

    def _take(self, transport: WSTransport, frame: WSFrame, data: bytes) -> None:
        kind = frame.msg_type
        if kind not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            if kind == WSMsgType.CLOSE:
                self.closed_with = frame.get_close_code()
                transport.send_close(self.closed_with)
            return
        if not frame.fin or self.fragments:
            data = self.fragments + data
            self.fragments = b"" if frame.fin else data
            if not frame.fin:
                return
        if self.answer is not None and not self.answer.done() and self.dialect.is_answer(data):
            self.answer.set_result(None)
            return
        span = self.tally.spans.get(data) or self.tally.read(data)
        if span is not NOTHING:
            self.tally.move(self, span)
        elif reply := self.dialect.reply(data):
            self.send(reply)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if transport is not self.transport:  # An attempt that was refused.
            return
        self.is_open = False
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionError(f"closed with {self.closed_with}"))

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.send(WSMsgType.TEXT, data)

    async def wait(self) -> None:
        """Return when :attr:`answer` has arrived.

        Raises ``TimeoutError``, or ``ConnectionError`` if the connection closes.
        """
        assert self.answer is not None
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            await self.answer

    def expect_answer(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()


class TimedSocket(Socket):
    """Also records the latency of each message."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        sent_at, position = self.tally.sent_at.get(self.position), self.position
        super().on_ws_frame(transport, frame)
        if self.position > position and sent_at is not None and self.tally.to_each is not None:
            self.tally.to_each.append(perf_counter() - sent_at)


async def connect(
    socket: Socket, system: System, port: int, room: str, cookie: str = "", *, joins: bool = True
) -> None:
    """Open ``socket`` and, if ``joins``, put it into ``room``.

    Raises the errors of picows if the handshake fails, and ``TimeoutError`` without an answer.
    """
    dialect = system.dialect
    headers = {"Origin": f"http://127.0.0.1:{port}"}
    if cookie:
        headers["Cookie"] = cookie
    if dialect.subprotocols:
        headers["Sec-WebSocket-Protocol"] = ", ".join(dialect.subprotocols)
    if dialect.speaks_first:
        socket.expect_answer()
    await ws_connect(
        lambda: socket,
        f"ws://127.0.0.1:{port}{dialect.path.replace('{room}', room)}",
        extra_headers=headers,
        websocket_handshake_timeout=ANSWER_TIMEOUT_SECONDS,
        read_buffer_init_size=4096,
    )
    if dialect.speaks_first:
        await socket.wait()
    for frame in dialect.opening(room) if joins else ():
        socket.expect_answer()
        socket.send(frame)
        await socket.wait()
    socket.answer = None
    socket.tally.add(socket)


async def connect_all(
    sockets: Sequence[tuple[Socket, str, str]],
    system: System,
    ports: Sequence[int],
    *,
    joins: bool,
) -> int:
    """Open all sockets, each with its room and cookie, over the ``ports`` in turn.

    A refused connection is tried again, as a browser would. Returns the number of refusals.
    """
    waiting = list(enumerate(sockets))[::-1]
    refused = 0

    async def work() -> None:
        nonlocal refused
        while waiting:
            number, (socket, room, cookie) = waiting.pop()
            port = ports[number % len(ports)]
            for attempt in range(CONNECT_ATTEMPTS):
                try:
                    await connect(socket, system, port, room, cookie, joins=joins)
                    break
                except (ConnectionError, WSError):
                    refused += 1
                    if attempt == CONNECT_ATTEMPTS - 1:
                        raise
                    await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(CONCURRENT_CONNECTS, len(sockets))):
            group.create_task(work())
    return refused
