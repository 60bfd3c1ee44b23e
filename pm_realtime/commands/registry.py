"""The table of commands."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from pm_realtime.commands import builtin
from pm_realtime.exceptions import CommandError
from pm_realtime.layer import get_layer, is_in_process
from pm_realtime.protocol import Command, ErrorCode, MessageType
from pm_realtime.rooms import Connection

Handler = Callable[[Connection, Command], Awaitable[None]]


class Definition(NamedTuple):
    """A command. ``check_payload`` raises ``CommandError`` for a malformed payload."""

    check_payload: Callable[[Any], None]
    handler: Handler


COMMANDS: Final[dict[str, Definition]] = {
    MessageType.PING: Definition(builtin.any_payload, builtin.ping),
    MessageType.SUBSCRIBE: Definition(builtin.room_payload, builtin.subscribe),
    MessageType.UNSUBSCRIBE: Definition(builtin.room_payload, builtin.unsubscribe),
    MessageType.MESSAGE: Definition(builtin.message_payload, builtin.message),
}


def check_form(command: Command) -> None:
    """Raise ``CommandError`` if ``command`` is unknown or malformed."""
    definition = COMMANDS.get(command.type)
    if definition is None:
        known = ", ".join(COMMANDS)
        raise CommandError(ErrorCode.UNKNOWN_TYPE, f"Expected one of these types: {known}.")
    definition.check_payload(command.payload)


def is_instant(connection: Connection, command: Command) -> bool:
    """Whether :func:`handle` carries ``command`` out without waiting, so that it needs no task."""
    return (
        command.type == MessageType.MESSAGE and connection.is_certain and is_in_process(get_layer())
    )


async def handle(connection: Connection, command: Command) -> None:
    """Carry out a ``command`` that :func:`check_form` accepted. Raises ``CommandError``."""
    await COMMANDS[command.type].handler(connection, command)
