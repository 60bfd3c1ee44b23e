"""`manage.py realtime_send`: push one message from a shell or a script."""

import argparse
import json
import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.management.base import CommandError

from pm_realtime import broadcast, send_to_connection, send_to_role, send_to_room, send_to_user
from pm_realtime.accounts import user_model
from pm_realtime.backends import Backend
from pm_realtime.conf import conf
from pm_realtime.management.base import RealtimeCommand
from pm_realtime.protocol import Envelope, encode
from pm_realtime.push import user_key
from pm_realtime.roles import rank

#: The length of an invalid payload in an error message.
MAX_SHOWN_CHARACTERS = 80
_SENDERS: dict[str, Callable[..., Envelope]] = {
    "room": send_to_room,
    "role": send_to_role,
    "connection": send_to_connection,
}


class Command(RealtimeCommand):
    help = (
        "Pushes a message to a user, a room, a role, a connection or everyone logged in. Prints "
        "the message as JSON, with the number of connections that it reached."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        targets = parser.add_mutually_exclusive_group(required=True)
        name = getattr(user_model(), "USERNAME_FIELD", "name")
        for option, metavar, help in (
            ("--user", "NAME", f"every connection of the user with this {name}"),
            ("--user-id", "PK", "every connection of the user with this primary key"),
            ("--room", "NAME", "every subscriber of the room"),
            ("--role", "NAME", "everyone with this role or a higher one"),
            ("--connection", "ID", "one connection"),
        ):
            targets.add_argument(option, metavar=metavar, help=help)
        targets.add_argument("--all", action="store_true", help="everyone logged in")
        parser.add_argument(
            "--idempotency-key",
            metavar="KEY",
            help="send the message once, however often the command is repeated with this key",
        )
        parser.add_argument("type", metavar="TYPE", help="what the client listens for")
        parser.add_argument(
            "payload",
            metavar="PAYLOAD",
            nargs="?",
            help='JSON, such as \'{"title": "Hi"}\'; - reads it from standard input',
        )

    def handle(
        self, *args: Any, type: str, payload: str | None, verbosity: int, **options: Any
    ) -> None:
        content = None if payload is None else _parse(payload)
        user = _chosen_user(options)
        push, key = _push_to(options, user), _key(options)
        self.require_reach()
        if getattr(self, "_called_from_command_line", False):
            # The error below reports an outage; log lines about connections would only confuse.
            logging.getLogger("pm_realtime").setLevel(logging.CRITICAL)
        try:
            envelope = push(type, content, fail_silently=False, **key)
        except ValueError as error:
            raise CommandError(_sentence(str(error))) from error
        except Exception as error:  # Each layer has errors of its own.
            why = str(error) or f"no answer in time ({error.__class__.__name__})"
            text = f"the push failed, or its answer was lost: {why}"
            raise CommandError(_sentence(text)) from error
        if verbosity:
            printed = json.loads(encode(envelope))
            if (count := self.ask_backend(partial(_count, options, user))) is not None:
                printed["connections"] = count
            self.write_json(printed)


def _key(options: dict[str, Any]) -> dict[str, Any]:
    """The keyword argument of the push helper for the key, if there is one."""
    if (key := options["idempotency_key"]) is None:
        return {}
    if options["connection"] is not None:
        raise CommandError("--idempotency-key is for streams, and a connection has none.")
    return {"idempotency_key": key}


def _chosen_user(options: dict[str, Any]) -> Any:
    """The user of the option for one, a key if the site has no user model, or None."""
    if (name := options["user"]) is not None:
        return _find_user("name", name)
    if (key := options["user_id"]) is not None:
        return _find_user("pk", key) if user_model() else key
    return None


def _push_to(options: dict[str, Any], user: Any) -> Callable[..., Envelope]:
    """The push helper for the one target that is given."""
    if user is not None:
        return partial(send_to_user, user)
    for option, send in _SENDERS.items():
        if options[option] is not None:
            return partial(send, options[option])
    return broadcast


async def _count(options: dict[str, Any], user: Any, backend: Backend) -> int | None:
    """The open connections of that target, None if they are not known."""
    if user is not None:
        return len(await backend.get_user_connections(user_key(user)))
    if (id := options["connection"]) is not None:
        return int(await backend.get_connection(id) is not None)
    if (role := options["role"]) is not None:
        if (counts := await backend.get_role_counts()) is None:
            return None
        return sum(counts.get(each, 0) for each in conf.ROLES[rank(role) :])
    stats = await backend.get_stats()
    if (room := options["room"]) is not None:
        return stats["roomStats"].get(room, 0)
    return stats["authenticatedConnections"]


def _find_user(field: str, value: str) -> Any:
    model = user_model()
    if model is None:
        raise CommandError("This site has no user model; --user-id takes a primary key.")
    if field == "pk":
        name = model.USERNAME_FIELD
        article = "an" if name[:1].lower() in "aeio" else "a"
        what, other = "primary key", f"--user takes {article} {name}"
    else:
        field = model.USERNAME_FIELD
        what, other = field, "--user-id takes a primary key"
    try:
        return model._default_manager.get(**{field: value})
    except (ObjectDoesNotExist, ValueError, ValidationError):
        raise CommandError(f"There is no user with the {what} {value!r}; {other}.") from None
    except model.MultipleObjectsReturned:
        raise CommandError(f"Several users have the {what} {value!r}; {other}.") from None


def _parse(payload: str) -> Any:
    try:
        text = sys.stdin.read() if payload == "-" else payload
    except UnicodeDecodeError as error:
        raise CommandError(f"Standard input is no text: {error}.") from None
    try:
        return json.loads(text, parse_constant=_refuse)
    except (RecursionError, ValueError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    shown = text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"
    raise CommandError(
        f'Expected PAYLOAD to be JSON, such as \'{{"title": "Hi"}}\' or \'"a text"\', '
        f"got {shown!r}: {why}."
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
