"""What the harness needs to know of a system: how to start it, and its dialect on the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

#: What a room message carries besides padding: its number, in ten digits at the front of the body.
NUMBER_DIGITS = 10


class Dialect(Protocol):
    """The frames of a system, seen from a client. All text frames, as bytes without framing."""

    #: Path and query of the WebSocket; may have ``{room}``.
    path: str
    subprotocols: Sequence[str]

    def opening(self, room: str) -> Sequence[bytes]:
        """What a client sends, in this order and each after the server's answer to the last, to be
        in ``room``; empty where the path alone says it."""

    def is_answer(self, frame: bytes) -> bool:
        """Whether ``frame`` ends the wait before the next of :meth:`opening` (also before the
        first, where the server speaks first: see ``speaks_first``)."""

    #: Whether the server sends a frame before it can be spoken to.
    speaks_first: bool

    def publish(self, room: str, body: str) -> bytes:
        """The frame with which a client in ``room`` says ``body`` to everybody there."""

    def bodies(self, frame: bytes) -> Sequence[str]:
        """The bodies of the room messages in ``frame``, in order; none in any other frame."""

    def reply(self, frame: bytes) -> bytes | None:
        """What a client must answer at once, such as a ping of the system's own, or None."""


@dataclass(frozen=True)
class System:
    """One line of the tables.

    ``command`` has ``{port}`` where the port belongs, and runs in the folder ``cwd`` with
    ``environment`` added. A system counts as up when its port takes connections. ``processes`` is
    how many the command starts that serve (their CPU and memory are added up, children included).
    ``missing`` says what this machine lacks and how to get it, or is empty.
    ``publishes_by`` is ``"websocket"``, or ``"http"`` where messages go in by POST to
    ``publish_path`` (with ``{room}``) and the body of the request is the body of the message.
    ``works`` are the names of the works it takes part in. ``versions`` are the names of installed
    Python packages, or of anything else with its version after a blank (``nginx 1.22.1``).

    ``direct_path`` (with ``{user}``) is where a POST sends its body to one user, whose connections
    were opened with that user's cookie; where ``logs_in`` is False, a user is who opened the room
    ``user-<number>``.

    Every command finds in its environment: ``BENCH_DATABASE``, an SQLite file with users numbered
    from 1 and a session for each (made by :mod:`benchmarks.sites`, whose settings a Django system
    shares), and, where ``needs_redis``, ``BENCH_REDIS``, the URL of a Valkey of the run's own.
    Every connection comes with the ``Origin`` of the server's own address, as that of a browser.
    Connections of the works ``connect`` and ``direct`` bring a session's cookie where
    ``logs_in``.
    """

    name: str
    title: str
    command: Sequence[str]
    dialect: Dialect
    works: frozenset[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    missing: str = ""
    publishes_by: str = "websocket"
    publish_path: str = ""
    direct_path: str = ""
    logs_in: bool = False
    needs_redis: bool = False
    versions: Sequence[str] = ()
