"""Channels with its own ``AuthMiddlewareStack``: what a connection costs that knows its user.

As https://channels.readthedocs.io/en/stable/topics/authentication.html and
https://channels.readthedocs.io/en/stable/topics/security.html have it, so the client must send an
``Origin`` that ``ALLOWED_HOSTS`` has. Sessions and users are in SQLite, as those of pm_realtime.
"""

from collections.abc import Sequence

from benchmarks.systems.base import System
from benchmarks.systems.servers import command

APPLICATION = "benchmarks.sites.auth.asgi:application"


class Greeting:
    """The server names the user, and that is all."""

    path = "/ws"
    subprotocols: Sequence[str] = ()
    speaks_first = True

    def opening(self, room: str) -> Sequence[bytes]:
        return ()

    def is_answer(self, frame: bytes) -> bool:
        return b'"username": "user-' in frame

    def publish(self, room: str, body: str) -> bytes:
        raise NotImplementedError("There are no rooms: this system has the work `connect` only.")

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
