"""Channels with its own ``AuthMiddlewareStack``, for the cost of an authenticated connection.

The site follows https://channels.readthedocs.io/en/stable/topics/authentication.html and
https://channels.readthedocs.io/en/stable/topics/security.html, so the client must send an
``Origin`` that is in ``ALLOWED_HOSTS``. Sessions and users are in SQLite, as with pm_realtime.
"""

from collections.abc import Sequence

from benchmarks.systems.base import System
from benchmarks.systems.servers import command

APPLICATION = "benchmarks.sites.auth.asgi:application"


class Greeting:
    """The server sends the name of the user, and nothing else."""

    path = "/ws"
    subprotocols: Sequence[str] = ()
    speaks_first = True

    def opening(self, room: str) -> Sequence[bytes]:
        return ()

    def is_answer(self, frame: bytes) -> bool:
        return b'"username": "user-' in frame

    def publish(self, room: str, body: str) -> bytes:
        raise NotImplementedError(
            "There are no rooms: this system takes part in the work `connect` only."
        )

    def bodies(self, frame: bytes) -> Sequence[str]:
        return ()

    def reply(self, frame: bytes) -> bytes | None:
        return None


def systems() -> list[System]:
    return [_on("uvicorn"), _on("daphne")]


def _on(server: str) -> System:
    return System(
        name=f"channels-auth-{server}",
        title=f"Channels, AuthMiddlewareStack, {server}",
        command=command(server, APPLICATION),
        dialect=Greeting(),
        works=frozenset({"connect"}),
        logs_in=True,
        versions=("Django", "channels", server),
    )
