"""``python -m benchmarks.check [NAME…]`` checks that the systems deliver what is measured.

Each system is started alone. 20 messages of one client must reach this client and five others: all
messages, in order, and each in a frame of its own. The clients are those of ``websockets``, so that
a mistake of the load generator's own client cannot hide here.
"""

import asyncio
import http.client
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from benchmarks.processes import Ground, Running
from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import NUMBER_DIGITS, Dialect, System

ROOM, SUBSCRIBERS, MESSAGES, TIMEOUT_SECONDS = "room-1", 5, 20, 20
BODIES = [f"{number:0{NUMBER_DIGITS}d} {'ä' * 100}" for number in range(MESSAGES)]


class Client:
    """One connection that speaks the dialect of its system."""

    def __init__(self, connection: ClientConnection, dialect: Dialect) -> None:
        self.connection, self.dialect = connection, dialect

    async def join(self, room: str) -> None:
        """Send the opening frames of the dialect, and wait for each answer."""
        if self.dialect.speaks_first:
            await self.answer()
        for frame in self.dialect.opening(room):
            await self.send(frame)
            await self.answer()

    async def send(self, frame: bytes) -> None:
        await self.connection.send(frame, text=True)

    async def answer(self) -> None:
        while not self.dialect.is_answer(await self.frame()):
            pass

    async def frame(self) -> bytes:
        """The next frame that needs no reply."""
        while True:
            frame = (await self.connection.recv(decode=False)) or b""
            assert isinstance(frame, bytes)
            reply = self.dialect.reply(frame)
            if reply is None:
                return frame
            await self.send(reply)

    async def bodies(self, count: int) -> list[str]:
        """The next ``count`` bodies, each from a frame of its own. Other frames are skipped."""
        found: list[str] = []
        while len(found) < count:
            found += self.dialect.bodies(await self.frame())
        return found


async def check(system: System, port: int, cookie: str) -> None:
    """Raise if ``system`` on ``port`` loses, repeats or reorders a message."""
    async with AsyncExitStack() as stack, asyncio.timeout(TIMEOUT_SECONDS):
        clients = [
            await stack.enter_async_context(_connect(system, port, cookie))
            for _ in range(SUBSCRIBERS + 1)
        ]
        members = [Client(connection, system.dialect) for connection in clients]
        await asyncio.gather(*(member.join(ROOM) for member in members))
        if system.works == {"connect"}:
            return
        if system.works == {"commands"}:
            for body in BODIES:  # Only the sender has an answer, and may have several in any order.
                await members[0].send(system.dialect.publish(ROOM, body))
                assert await members[0].bodies(1) == [body], f"{system.name} gave another answer"
            return
        if system.publishes_by == "http":
            await asyncio.to_thread(_post, port, system.publish_path.format(room=ROOM))
        else:
            for body in BODIES:
                await members[0].send(system.dialect.publish(ROOM, body))
        got = await asyncio.gather(*(member.bodies(MESSAGES) for member in members))
    for bodies in got:
        assert bodies == BODIES, f"{system.name} sent {[body[:NUMBER_DIGITS] for body in bodies]}"


def _connect(system: System, port: int, cookie: str) -> Any:
    return connect(
        f"ws://127.0.0.1:{port}{system.dialect.path.format(room=ROOM)}",
        origin=Origin(f"http://127.0.0.1:{port}"),
        subprotocols=[Subprotocol(name) for name in system.dialect.subprotocols] or None,
        additional_headers={"Cookie": cookie} if system.logs_in else {},
        compression=None,
    )


def _post(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    for body in BODIES:
        connection.request("POST", path, body.encode())
        answer = connection.getresponse()
        assert answer.status < 300, f"POST {path} gave {answer.status}: {answer.read()!r}"
        answer.read()
    connection.close()


def check_alone(ground: Ground, system: System) -> None:
    """Start ``system`` and run :func:`check`. An error has the log of the system as a note."""
    cookie: str = json.loads(ground.make_people().read_text())[0]
    running = Running(ground, system)
    try:
        asyncio.run(check(system, running.ports[0], cookie))
    except Exception as error:
        error.add_note(f"{system.name} wrote: {running.tail() or 'nothing'}")
        raise
    finally:
        running.stop()


def main(names: Sequence[str]) -> None:
    unknown = set(names) - set(SYSTEMS)
    if unknown:
        sys.exit(f"Unknown: {', '.join(sorted(unknown))}. The systems are {', '.join(SYSTEMS)}.")
    with closing(Ground(people=1)) as ground:
        for name in names or SYSTEMS:
            system = SYSTEMS[name]
            if not system.missing:
                check_alone(ground, system)
            print(f"{name}: {system.missing or 'good'}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
