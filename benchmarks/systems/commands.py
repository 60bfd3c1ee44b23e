"""Commands of a site: a checked payload, a function of the site, and an answer for the sender.

Each connection is the only member of its room, so a message is done when its sender has the answer.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.systems.base import System
from benchmarks.systems.ours import APPLICATION, VERSIONS, Envelopes
from benchmarks.systems.packages import lacking
from benchmarks.systems.servers import command


def _order(body: str) -> dict[str, object]:
    return {"body": body, "amount": "12.50", "tags": ["a", "b"]}


class Calls(Envelopes):
    """Commands of pm_realtime, each with an ``id``, so that it is carried out once."""

    def __init__(self, type: str) -> None:
        super().__init__()
        self._type = type

    def opening(self, room: str) -> Sequence[bytes]:
        return ()

    def publish(self, room: str, body: str) -> bytes:
        envelope = {"type": self._type, "timestamp": 0, "id": f"{room} {body[:10]}"}
        return json.dumps({**envelope, "payload": _order(body)}).encode()

    def bodies(self, frame: bytes) -> Sequence[str]:
        found = json.loads(frame)
        return [found["payload"]["body"]] if found["type"] == "result" else ()


class Bare:
    """The protocol of a consumer that a site writes itself."""

    path = "/ws"
    subprotocols: Sequence[str] = ()
    speaks_first = False

    def __init__(self, type: str) -> None:
        self._type = type

    def opening(self, room: str) -> Sequence[bytes]:
        return ()

    def is_answer(self, frame: bytes) -> bool:
        return False

    def publish(self, room: str, body: str) -> bytes:
        envelope = {"type": self._type, "id": f"{room} {body[:10]}", "payload": _order(body)}
        return json.dumps(envelope).encode()

    def bodies(self, frame: bytes) -> Sequence[str]:
        found = json.loads(frame)
        return [found["payload"]["body"]] if found["type"] == "result" else ()

    def reply(self, frame: bytes) -> bytes | None:
        return None


class Chanx(Bare):
    """Messages with an ``action``. They have no ids: a client tells answers by their order."""

    def publish(self, room: str, body: str) -> bytes:
        return json.dumps({"action": self._type, "payload": _order(body)}).encode()

    def bodies(self, frame: bytes) -> Sequence[str]:
        found = json.loads(frame)
        return [found["payload"]["body"]] if found["action"] == "accepted" else ()


def systems() -> list[System]:
    ours = System(
        name="ours-message",
        title="pm_realtime, a plain `message`",
        command=command("uvicorn", APPLICATION),
        dialect=Envelopes(),
        works=frozenset({"commands"}),
        environment={"BENCH_LAYER": "memory", "BENCH_RECOVERY": "60"},
        versions=(*VERSIONS, "msgspec", "uvicorn"),
    )
    bare = System(
        name="bare",
        title="Channels consumer with pydantic",
        command=command("uvicorn", "benchmarks.sites.bare.asgi:application"),
        dialect=Bare(""),
        works=frozenset({"commands"}),
        missing=lacking("pydantic"),
        versions=("Django", "channels", "pydantic", "uvicorn"),
    )
    chanx = replace(
        bare,
        title="Chanx",
        command=command("uvicorn", "benchmarks.sites.with_chanx.asgi:application"),
        missing=lacking("chanx"),
        versions=("Django", "channels", "chanx", "pydantic", "uvicorn"),
    )
    return [
        ours,
        *(
            replace(
                system,
                name=f"{name}-{kind}",
                title=f"{system.title}, {kind} function",
                dialect=dialect,
            )
            for kind in ("async", "sync")
            for name, system, dialect in (
                ("ours", replace(ours, title="pm_realtime"), Calls(f"order.{kind}")),
                ("bare", bare, Bare(f"order.{kind}")),
                ("chanx", chanx, Chanx(f"order_{kind}")),
            )
        ),
    ]
