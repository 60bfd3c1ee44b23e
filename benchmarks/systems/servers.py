"""The ASGI servers of the applications, each as its documentation recommends for production.

All run with one worker, little output, and no compression of messages. Further options:

- uvicorn (https://uvicorn.dev/settings/): ``uvloop`` by name, so that a run without it fails. It
  uses httptools by itself if installed, as with ``uvicorn[standard]``.
- daphne (https://github.com/django/daphne): none. It runs on Twisted's asyncio reactor and has no
  choice of loop.
- granian (https://github.com/emmett-framework/granian#options): WebSockets are on by default and
  never compressed. ``--backpressure`` (1024) only counts a connection until it is upgraded. The
  command is a parent process with one worker as its child. With the log level ``warning`` it would
  report that Django has no lifespan.
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
    """The command that serves ``app`` (``module:name``) on ``server``, with ``{port}`` in it.

    Raises :class:`KeyError` for a server that is not in :data:`SERVERS`.
    """
    return (sys.executable, *(part.replace("{app}", app) for part in SERVERS[server]))
