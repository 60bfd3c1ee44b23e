"""An address in front of servers, as of a load balancer or a firewall between two machines."""

import contextlib
import selectors
import socket
import threading

CHUNK_BYTES = 65536


class Address:
    """``with Address(server) as address``: connections to ``address.url`` reach the server."""

    def __init__(self, server):
        self._target = server.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._pairs = {}
        self._far = set()
        self._forgotten = []
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_open = True
        #: The next answers that get lost, each with its connection.
        self.answers_to_lose = 0
        #: The connections that were opened so far.
        self.count = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._is_open = False
        self._thread.join()
        for each in [*self._pairs, *self._forgotten, self._listener]:
            each.close()
        self._selector.close()

    def point_to(self, server):
        """New connections reach ``server``; open ones stay with the former."""
        self._target = server.port

    def forget(self):
        """Open connections get nothing any more, not even a close, as in many firewalls."""
        with self._lock:
            for each in self._pairs:
                self._selector.unregister(each)
            self._forgotten += self._pairs
            self._pairs.clear()

    def cut(self):
        """Open connections are closed at both ends."""
        with self._lock:
            for each in [*self._pairs]:
                self._close(each)

    def _run(self):
        while self._is_open:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._pairs:
                        self._copy(key.fileobj)

    def _accept(self):
        near = self._listener.accept()[0]
        self.count += 1
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        self._far.add(far)
        for one, other in ((near, far), (far, near)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _copy(self, source):
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(CHUNK_BYTES)
            if data and self.answers_to_lose and source in self._far:
                self.answers_to_lose -= 1
                data = b""
            self._pairs[source].sendall(data)
        if not data:
            self._close(source)

    def _close(self, one):
        for each in (one, self._pairs.pop(one, None)):
            if each is not None:
                self._pairs.pop(each, None)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(each)
                each.close()
