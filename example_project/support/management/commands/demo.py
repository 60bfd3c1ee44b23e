"""`manage.py demo`: everything the demo needs, and the server."""

import argparse
import contextlib
import io
import socket
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from example_project.support.demo_users import DEMO_USERS, DemoUser, ensure
from pm_realtime.roles import role_of

PORTS_TRIED = 20


class Command(BaseCommand):
    help = "Prepares the database and the demo users, and serves the demo on daphne."
    # The server runs them, once, when the database is there.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
        parser.add_argument("--port", type=port_number, default=8000, help="default: %(default)s")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        people = [(person, *ensure(person)) for person in DEMO_USERS]
        host = host.strip("[]")
        free = first_free_port(host, port)
        if free != port:
            self.say(self.style.WARNING(f"Port {port} is taken, using {free} (--port chooses)."))
        name = f"[{host}]" if ":" in host else host
        shown = "localhost" if host in ("0.0.0.0", "::") else name
        self.say(self.introduction(f"http://{shown}:{free}/", people))
        with contextlib.suppress(KeyboardInterrupt):
            # Its own greeting says less than the one above; warnings of the checks go to stderr.
            call_command(
                "runserver",
                f"{name}:{free}",
                use_ipv6=":" in host,
                use_reloader=False,
                stdout=io.StringIO(),
            )

    def introduction(self, address: str, people: list[tuple[DemoUser, User, bool]]) -> str:
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
        lines = ["", self.style.SUCCESS(f"The demo is at {address}"), ""]
        lines += [f"  {line}".rstrip() for line in table]
        if not all(has_demo_password for _, _, has_demo_password in people):
            lines += [
                "",
                "(changed): that user has another password by now. The demo resets none.",
            ]
        lines += [
            "",
            "Use a second browser or a private window to be two people at once.",
            "Ctrl-C stops it.",
            "",
        ]
        return "\n".join(lines)

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def port_number(text: str) -> int:
    """A port from the command line."""
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return port


def first_free_port(host: str, port: int) -> int:
    """``port``, or the first after it that nobody listens on."""
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
        raise CommandError(f"{host} is no address of this machine: {error.strerror}.") from None
    with socket.socket(family, kind, protocol) as probe:
        # As the server itself does, so that a port just given up counts as free.
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
