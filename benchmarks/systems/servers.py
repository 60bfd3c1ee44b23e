"""The ASGI servers that applications run on, each as its documentation has it for production.

One worker, quiet, no compression of messages. What is there beyond that:

- uvicorn (https://uvicorn.dev/settings/): ``uvloop`` by name, so that nobody measures without it
  unawares; httptools it takes by itself where it is installed, as with ``uvicorn[standard]``.
- daphne (https://github.com/django/daphne): nothing; it runs on Twisted's asyncio reactor and has
  no choice of loop.
- granian (https://github.com/emmett-framework/granian#options): WebSockets are on by default and
  never compressed, and ``--backpressure`` (1024) only counts a connection until it is upgraded. The
  command is a parent with one worker: a child process. At ``warning`` it would say that Django has
  no lifespan.
"""

import sys
from collections.abc import Sequence

SERVERS: dict[str, Sequence[str]] = {
    "uvicorn": (
        *("-m", "uvicorn", "{app}", "--host", "127.0.0.1", "--port", "{port}"),
        *("--loop", "uvloop", "--ws", "websockets-sansio", "--ws-per-message-deflate", "false"),
        *("--log-level", "warning", "--no-access-log"),
    ),
    "daphne": ("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "-v", "0", "{app}"),
    "granian": (
        *("-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}"),
        *("--workers", "1", "--loop", "uvloop", "--ws"),
        *("--log-level", "error", "--no-access-log", "{app}"),
    ),
}


def command(server: str, app: str) -> Sequence[str]:
    """The command that serves ``app`` (``module:name``) on ``server``; ``{port}`` stays in it.

    Raises :class:`KeyError` for a server that is not in :data:`SERVERS`.
    """
    return (sys.executable, *(part.replace("{app}", app) for part in SERVERS[server]))
