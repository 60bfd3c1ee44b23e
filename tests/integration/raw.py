"""A WebSocket client on a plain socket: it reads when a test says so, and sends any bytes."""

import os
import socket
import time
from pathlib import Path

from tests.integration.crowd import handshake

TIMEOUT_SECONDS = 10
#: Of the client: the bytes that the server sends wait on its own side.
RECEIVE_BUFFER_BYTES = 4096
LISTEN, TIME_WAIT = "0A", "06"


class RawClient:
    """Used with ``with``. ``headers`` holds the server's answer to the handshake, if it waits."""

    def __init__(self, server, cookie="", headers="", *, waits=True):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.connect(("127.0.0.1", server.port))
        request = handshake(server.ws_url, cookie).removesuffix(b"\r\n")
        self.socket.sendall(request + headers.encode() + b"\r\n")
        self.buffer = b""
        self.headers = self._read_until(b"\r\n\r\n") if waits else ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def flood(self, data, seconds):
        """Send ``data`` again and again, and read nothing. False if the server ended it."""
        deadline = time.monotonic() + seconds
        self.socket.settimeout(0.05)
        view = memoryview(data)
        while time.monotonic() < deadline:
            try:
                view = view[self.socket.send(view) :] or memoryview(data)
            except TimeoutError:
                pass
            except OSError:
                return False
        return True

    def frame(self):
        """The next frame of the server: its opcode and its payload. None after the last."""
        try:
            opcode, size = self._read(2)
            if size > 125:
                size = int.from_bytes(self._read(2 if size == 126 else 8))
            return opcode & 15, self._read(size)
        except OSError:
            return None

    def close_code(self):
        """Read to the end; the code of the close frame, None if there was none."""
        while (frame := self.frame()) is not None:
            if frame[0] == 8:
                return int.from_bytes(frame[1][:2])
        return None

    def _read(self, size):
        while len(self.buffer) < size:
            self._more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _read_until(self, end):
        while end not in self.buffer:
            self._more()
        taken, _, self.buffer = self.buffer.partition(end)
        return taken.decode()

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise OSError("the server has ended the connection")
        self.buffer += data


def open_sockets(server):
    """The server's sockets of connections, also those that only the kernel has still."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    states = [line.split()[3] for line in lines if line.split()[1].endswith(f":{server.port:04X}")]
    return sum(state not in (LISTEN, TIME_WAIT) for state in states)


def resident_bytes(process):
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
