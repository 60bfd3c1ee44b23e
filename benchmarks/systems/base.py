"""The description of a system: its command, and its dialect on the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

#: The body of a room message begins with its number in this many digits. The rest is padding.
NUMBER_DIGITS = 10


class Dialect(Protocol):
    """The frames of a system, seen from a client. All are text frames, as bytes."""

    #: Path and query of the WebSocket; may contain ``{room}``.
    path: str
    subprotocols: Sequence[str]

    def opening(self, room: str) -> Sequence[bytes]:
        """The frames with which a client joins ``room``, each sent after the answer to the one
        before; empty if the path alone names the room."""

    def returning(self, room: str, frame: bytes) -> Sequence[bytes]:
        """For the work ``recover``: the frames with which a client in ``room`` leaves it and joins
        it again from ``frame``, which it has read last."""

    def is_answer(self, frame: bytes) -> bool:
        """Whether ``frame`` is the answer to a frame of :meth:`opening`, or the first frame of a
        server that speaks first (see ``speaks_first``)."""

    #: Whether the client must wait for a frame of the server before it sends.
    speaks_first: bool

    def publish(self, room: str, body: str) -> bytes:
        """The frame with which a client in ``room`` sends ``body`` to all its members."""

    def bodies(self, frame: bytes) -> Sequence[str]:
        """The bodies of the room messages in ``frame``, in order; empty for any other frame."""

    def reply(self, frame: bytes) -> bytes | None:
        """The frame that a client must send at once, such as a pong, or None."""


@dataclass(frozen=True)
class System:
    """One line of the tables.

    ``command`` contains ``{port}``, and runs in the folder ``cwd`` with ``environment`` added. A
    system counts as up when its port accepts connections. ``missing`` names the missing software
    and how to get it, or is empty. ``publishes_by`` is ``"websocket"`` or ``"http"``. With
    ``"http"``, messages go in by POST to ``publish_path`` (with ``{room}``), and the body of the
    request is the body of the message. ``works`` are the names of the works in which the system
    takes part. ``versions`` are names of installed Python packages, or any other name with its
    version after a blank (``nginx 1.22.1``).

    A POST to ``direct_path`` (with ``{user}``) sends its body to one user, whose connections were
    opened with that user's cookie. If ``logs_in`` is False, the member of the room
    ``user-<number>`` stands for the user.

    Every command has in its environment ``BENCH_DATABASE``, an SQLite file with users numbered from
    1 and a session for each (made by :mod:`benchmarks.sites`, whose settings a Django system
    shares). If ``needs_redis``, it also has ``BENCH_REDIS``, the URL of the Valkey of the run.
    Every connection has the ``Origin`` of the server's own address, like that of a browser. If
    ``logs_in``, connections of the works ``connect`` and ``direct`` have the cookie of a session.
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
