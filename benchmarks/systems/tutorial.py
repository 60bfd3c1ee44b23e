"""The chat of the Channels tutorial on each server and each channel layer."""

import json
from collections.abc import Sequence

from benchmarks.systems.base import System
from benchmarks.systems.servers import command

APPLICATION = "benchmarks.sites.tutorial.asgi:application"


class Chat:
    """The path names the room. A frame is ``{"message": …}`` both ways."""

    path = "/ws/chat/{room}/"
    subprotocols: Sequence[str] = ()
    speaks_first = False

    def opening(self, room: str) -> Sequence[bytes]:
        return ()

    def is_answer(self, frame: bytes) -> bool:
        return False

    def publish(self, room: str, body: str) -> bytes:
        return json.dumps({"message": body}).encode()

    def bodies(self, frame: bytes) -> Sequence[str]:
        return [json.loads(frame)["message"]]

    def reply(self, frame: bytes) -> bytes | None:
        return None


def _system(name: str, title: str, server: str, layer: str, *works: str) -> System:
    return System(
        name=name,
        title=f"Channels tutorial, {title}",
        command=command(server, APPLICATION),
        dialect=Chat(),
        works=frozenset({"fan_out", *works}),
        environment={"BENCH_LAYER": layer},
        needs_redis=layer != "memory",
        direct_path="/direct/{user}",
        versions=("Django", "channels", "channels-redis", server),
    )


def systems() -> list[System]:
    return [
        _system("tutorial", "uvicorn", "uvicorn", "memory", "push", "rooms", "direct", "idle"),
        _system("tutorial-daphne", "daphne", "daphne", "memory", "push"),
        _system("tutorial-granian", "granian", "granian", "memory"),
        _system("tutorial-core", "uvicorn, RedisChannelLayer", "uvicorn", "core"),
        _system(
            "tutorial-pubsub",
            "uvicorn, RedisPubSubChannelLayer",
            "uvicorn",
            "pubsub",
            "push",
            "rooms",
        ),
    ]
