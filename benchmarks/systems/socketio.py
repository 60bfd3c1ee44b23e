"""python-socketio on uvicorn, WebSockets only.

https://python-socketio.readthedocs.io/en/stable/server.html: ``AsyncServer`` as an ASGI application
with its client list in memory. The documentation has no advice on speed beyond the choice of an
asynchronous server. All other options have their defaults, the JSON of the standard library
included (``json=`` takes any compatible module, and none is recommended).
"""

from benchmarks.systems.base import System
from benchmarks.systems.dialects import ROOM_WORKS, SocketIO
from benchmarks.systems.packages import lacking
from benchmarks.systems.servers import command


def systems() -> list[System]:
    return [
        System(
            name="python-socketio",
            title="python-socketio, uvicorn",
            command=command("uvicorn", "benchmarks.servers.python_socketio:application"),
            dialect=SocketIO(),
            works=ROOM_WORKS,
            missing=lacking("socketio", "uvicorn", "uvloop"),
            versions=("python-socketio", "python-engineio", "uvicorn"),
        )
    ]
