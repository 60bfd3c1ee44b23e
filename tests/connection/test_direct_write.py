"""The way past ASGI: the same frames, and only where the server's own ``send`` would send too."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from functools import partial, wraps
from types import MethodType

import pytest
import uvicorn
import websockets
from websockets.frames import Frame, Opcode

from pm_realtime.connection.direct_write import find_direct_writer, frame_of
from tests.integration.server import Server
from tests.support.helpers import eventually


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_frame_is_the_one_of_websockets(size):
    text = "é" * (size // 2) + "x" * (size % 2)
    expected = Frame(Opcode.TEXT, text.encode()).serialize(mask=False, extensions=[])
    assert frame_of(text) == expected


def test_frame_is_made_once_for_each_text():
    first, second = "first" * 3, "second" * 3
    assert frame_of(first) is frame_of(first)
    assert frame_of(second)[2:] == second.encode()
    assert frame_of(first)[2:] == first.encode()


def test_several_texts_have_a_frame_each_that_are_made_once():
    texts = ("first" * 3, "é" * 200, "")
    assert frame_of(texts) == b"".join(frame_of(text) for text in texts)
    assert frame_of(texts) is frame_of(texts)


class Application:
    """Accepts, shows its ``send`` and waits for the end."""

    async def __call__(self, scope, receive, send):
        if scope["type"] != "websocket":
            return
        self.send = send
        await receive()
        self.before = find_direct_writer(send)
        await send({"type": "websocket.accept"})
        self.is_accepted = True
        while (await receive())["type"] != "websocket.disconnect":
            pass
        self.is_gone = True


@asynccontextmanager
async def serving(**options):
    application = Application()
    config = uvicorn.Config(
        application, port=0, ws="websockets-sansio", lifespan="off", log_level="error", **options
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server._serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with websockets.connect(f"ws://127.0.0.1:{port}", max_size=None) as client:
        await eventually(lambda: getattr(application, "is_accepted", False))
        yield application, client
    server.should_exit = True
    await task


async def test_direct_writes_keep_the_order_with_asgi():
    async with serving(ws_per_message_deflate=False) as (application, client):
        shortcut = find_direct_writer(application.send)
        for number in range(100):
            if number % 3:
                assert shortcut.write(f"é{number}")
            else:
                await application.send({"type": "websocket.send", "text": f"é{number}"})
        assert [await client.recv() for _ in range(100)] == [f"é{n}" for n in range(100)]


async def test_several_texts_are_written_in_one_go(monkeypatch):
    async with serving(ws_per_message_deflate=False) as (application, client):
        writes = []
        transport = application.send.__self__.transport
        write = transport.write
        monkeypatch.setattr(transport, "write", lambda data: (writes.append(data), write(data)))
        shortcut = find_direct_writer(application.send)
        assert shortcut.write(("é1", "2", ""))
        assert [await client.recv() for _ in range(3)] == ["é1", "2", ""]
        assert len(writes) == 1


async def test_no_direct_writer_before_the_handshake_or_with_compression():
    async with serving(ws_per_message_deflate=False) as (application, _):
        assert application.before is None
    async with serving(ws_per_message_deflate=True) as (application, _):
        assert find_direct_writer(application.send) is None


async def test_full_socket_is_left_to_asgi():
    async with serving(ws_per_message_deflate=False) as (application, client):
        shortcut = find_direct_writer(application.send)
        client.transport.pause_reading()
        sent = 0
        while shortcut.write("x" * 60_000 + str(sent)):
            sent += 1
            assert sent < 10_000
        client.transport.resume_reading()
        received = [(await client.recv())[60_000:] for _ in range(sent)]
        assert received == [str(number) for number in range(sent)]
        await eventually(lambda: shortcut.write("again"))


async def test_nothing_is_sent_after_the_close():
    async with serving(ws_per_message_deflate=False) as (application, client):
        shortcut = find_direct_writer(application.send)
        await application.send({"type": "websocket.close", "code": 4503})
        assert not shortcut.write("late")
        await client.wait_closed()
        assert client.close_code == 4503


async def test_nothing_is_written_to_a_client_that_has_gone():
    async with serving(ws_per_message_deflate=False) as (application, client):
        shortcut = find_direct_writer(application.send)
        client.transport.abort()
        await eventually(lambda: getattr(application, "is_gone", False))
        assert not shortcut.write("late")


async def test_wrapper_of_send_gets_every_frame():
    async def wrapped(message):
        raise AssertionError

    class Other:
        async def send(self, message):
            raise AssertionError

    assert find_direct_writer(wrapped) is None
    assert find_direct_writer(Other().send) is None
    assert find_direct_writer(print) is None
    assert find_direct_writer(partial(wrapped, 1)) is None
    assert find_direct_writer(partial(Other().send)) is None
    assert find_direct_writer(partial(Other().send, message=1)) is None


async def test_replacement_of_the_servers_send_gets_every_frame(monkeypatch):
    async with serving(ws_per_message_deflate=False) as (application, _):
        protocol = application.send.__self__
        original = type(protocol).send

        @wraps(original)
        async def traced(self, message):
            await original(self, message)

        assert find_direct_writer(MethodType(traced, protocol)) is None
        monkeypatch.setattr(type(protocol), "send", traced)
        assert find_direct_writer(protocol.send) is None


@pytest.mark.parametrize("name", ["disconnected", "close_sent", "writable"])
async def test_no_direct_writer_for_another_version_of_the_server(name):
    async with serving(ws_per_message_deflate=False) as (application, _):
        kept = vars(application.send.__self__).pop(name)
        assert find_direct_writer(application.send) is None
        setattr(application.send.__self__, name, kept)


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_server_sends_all_in_order_and_nothing_after_the_close(tmp_path, kind):
    server = Server(kind, tmp_path, application="tests.site.direct_writes:application")
    options = {"max_size": None, "compression": None, "max_queue": 1}
    server.start()
    try:
        for count, size in [(300, 10), (300, 20_000), (10, 900_000)]:
            url = f"ws://127.0.0.1:{server.port}"
            async with websockets.connect(url, **options) as client:
                assert json.loads(await client.recv()) == {"is_there": True, "was_there": False}
                await client.send(json.dumps([count, size]))
                await asyncio.sleep(0.05)  # Nobody reads for a while: sockets fill up.
                received = [await client.recv() for _ in range(count)]
                assert received == [f"{number} é {'x' * size}" for number in range(count)]
                await client.send("all is there")
                assert await read_all(client) == []
            assert client.close_code == 4503
    finally:
        server.stop()
    assert "Traceback" not in server.log_path.read_text()


async def read_all(client):
    texts = []
    with suppress(websockets.ConnectionClosed):
        while True:
            texts.append(await client.recv())
    return texts
