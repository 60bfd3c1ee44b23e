"""pm_realtime, as its documentation recommends for production, in several setups."""

import json
from collections.abc import Sequence

from benchmarks.systems.base import System
from benchmarks.systems.servers import command

APPLICATION = "benchmarks.sites.ours.asgi:application"


class Envelopes:
    """Protocol version 1: one envelope per frame, or an array of envelopes with batching."""

    path = "/api/ws"
    speaks_first = True

    def __init__(self, is_batched: bool = False) -> None:
        name = "pm-realtime.v1"
        self.subprotocols: Sequence[str] = (f"{name}.batch", name) if is_batched else (name,)

    def opening(self, room: str) -> Sequence[bytes]:
        return (_command("subscribe", {"room": room}),)

    def returning(self, room: str, frame: bytes) -> Sequence[bytes]:
        """The frames with which a client that has read ``frame`` last comes back to ``room``."""
        since = json.loads(frame)["cursor"]
        left = _command("unsubscribe", {"room": room})
        return (left, _command("subscribe", {"room": room, "since": since}))

    def is_answer(self, frame: bytes) -> bool:
        return b'"type":"connected"' in frame or b'"type":"subscribed"' in frame

    def publish(self, room: str, body: str) -> bytes:
        return _command("message", {"room": room, "content": body})

    def bodies(self, frame: bytes) -> Sequence[str]:
        found = json.loads(frame)
        envelopes = found if isinstance(found, list) else [found]
        return [body for body in map(_body, envelopes) if body is not None]

    def reply(self, frame: bytes) -> bytes | None:
        return None


def _command(type: str, payload: object) -> bytes:
    return json.dumps({"type": type, "timestamp": 0, "payload": payload}).encode()


def _body(envelope: dict[str, object]) -> str | None:
    payload = envelope.get("payload")
    if envelope["type"] == "message" and isinstance(payload, dict):
        return str(payload["content"])
    return str(payload) if envelope["type"] == "notification" else None


ALL = frozenset({"fan_out", "rooms", "direct", "push", "connect", "idle"})
#: The works that are measured with and without streams.
COMPARED = frozenset({"stream_fan_out", "stream_connect"})
VERSIONS = ("pm-realtime", "Django", "channels")


def _system(name: str, title: str, server: str, works: frozenset[str], **options: bool) -> System:
    is_batched = options.get("is_batched", False)
    return System(
        name=name,
        title=f"pm_realtime, {title}",
        command=command(server, APPLICATION),
        dialect=Envelopes(is_batched),
        works=works,
        environment={
            "BENCH_LAYER": "pubsub" if options.get("redis") else "memory",
            # Beside one another on one Valkey, they have nothing in common.
            "BENCH_NAMESPACE": name,
            "BENCH_RECOVERY": "" if options.get("forgets") else "60",
            "BENCH_PRESENCE": "1" if options.get("presence") else "",
        },
        needs_redis=options.get("redis", False),
        direct_path="/direct/{user}",
        logs_in=True,
        versions=(*VERSIONS, server),
    )


def systems() -> list[System]:
    few = frozenset({"fan_out", "push"})
    return [
        _system("ours", "uvicorn", "uvicorn", ALL | COMPARED | {"two", "recover", "history"}),
        _system("ours-forgets", "uvicorn, no streams", "uvicorn", frozenset(), forgets=True),
        _system("ours-batch", "uvicorn, batching", "uvicorn", few, is_batched=True),
        _system("ours-daphne", "daphne", "daphne", few),
        _system("ours-granian", "granian", "granian", few),
        _system(
            "ours-pubsub",
            "uvicorn, Valkey",
            "uvicorn",
            few | COMPARED | {"checks", "rooms", "direct", "two", "sync_push", "recover"},
            redis=True,
        ),
        _system(
            "ours-pubsub-forgets",
            "uvicorn, Valkey, no streams",
            "uvicorn",
            frozenset({"checks"}),
            redis=True,
            forgets=True,
        ),
        _system(
            "ours-presence",
            "uvicorn, Valkey, rooms with presence",
            "uvicorn",
            frozenset({"presence_join", "presence_idle"}),
            redis=True,
            presence=True,
        ),
    ]
