"""Hubs that only send, as an upper limit: two bare servers in Python, and one in C.

- ``websockets`` with :func:`broadcast`, which encodes a message once and has no back pressure,
  without compression (https://websockets.readthedocs.io/en/stable/topics/broadcast.html,
  https://websockets.readthedocs.io/en/stable/topics/memory.html).
- picows, the fastest server in Python, as in its broadcast example
  (https://github.com/tarasko/picows/blob/master/examples/broadcast_server.py).
- Nchan in nginx (https://nchan.io/#publisher-endpoints, https://nchan.io/#subscriber-endpoints),
  with one worker. A message is kept only until it is sent. Messages go in by POST, and a frame is
  the body alone, because the room is in the path.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

from benchmarks.servers.nchan import MODULE, nginx
from benchmarks.systems.base import System
from benchmarks.systems.dialects import ROOM_WORKS, JSONRooms
from benchmarks.systems.packages import lacking


class Nchan:
    """The path names the room, and a frame is a body."""

    path = "/sub?id={room}"
    subprotocols: Sequence[str] = ()
    speaks_first = False

    def opening(self, room: str) -> Sequence[bytes]:
        return ()

    def is_answer(self, frame: bytes) -> bool:
        return False

    def publish(self, room: str, body: str) -> bytes:
        raise NotImplementedError("Messages go in by POST: see `publish_path` of the system.")

    def bodies(self, frame: bytes) -> Sequence[str]:
        return (frame.decode(),)

    def reply(self, frame: bytes) -> bytes | None:
        return None


def systems() -> list[System]:
    return [
        System(
            name="websockets",
            title="websockets.broadcast",
            command=(sys.executable, "-m", "benchmarks.servers.websockets_broadcast", "{port}"),
            dialect=JSONRooms(),
            works=ROOM_WORKS,
            missing=lacking("websockets", "uvloop"),
            versions=("websockets", "uvloop"),
        ),
        System(
            name="picows",
            title="picows",
            command=(sys.executable, "-m", "benchmarks.servers.picows_hub", "{port}"),
            dialect=JSONRooms(),
            works=ROOM_WORKS,
            missing=lacking("picows", "uvloop"),
            versions=("picows", "uvloop"),
        ),
        System(
            name="nchan",
            title="Nchan in nginx",
            command=(sys.executable, "-m", "benchmarks.servers.nchan", "{port}"),
            dialect=Nchan(),
            works=ROOM_WORKS,
            missing=_lacks_nchan(),
            publishes_by="http",
            publish_path="/pub?id={room}",
            versions=_nchan_versions(),
        ),
    ]


def _lacks_nchan() -> str:
    if nginx() and MODULE.exists():
        return ""
    return (
        "No nginx with Nchan: on Debian, `apt-get install --no-install-recommends nginx-light "
        "libnginx-mod-nchan` installs it."
    )


@cache
def _nchan_versions() -> Sequence[str]:
    if _lacks_nchan():
        return ()
    package = ["dpkg-query", "--show", "--showformat=${Version}", "libnginx-mod-nchan"]
    return (
        f"nginx {_number_in([nginx(), '-v'], r'nginx/([0-9.]+)')}",
        f"nchan {_number_in(package, r'(?:[0-9]+:)?([0-9.]+)')}",
    )


def _number_in(command: Sequence[str], pattern: str) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "of unknown version"
    found = re.search(pattern, said.stdout + said.stderr)
    return found[1] if found else "of unknown version"
