"""From a decoded envelope to its command: a built-in one, or one that the site has declared."""

from pm_realtime.commands.builtin import COMMANDS
from pm_realtime.commands.declarations import DECLARATIONS
from pm_realtime.commands.site_calls import answer_to
from pm_realtime.commands.site_commands import SiteCommand
from pm_realtime.conf import RoomOptions
from pm_realtime.exceptions import CommandError
from pm_realtime.layer import get_layer, is_in_process
from pm_realtime.protocol import Command, ErrorCode
from pm_realtime.push import push_streams
from pm_realtime.rooms import Connection


def read(connection: Connection, command: Command) -> SiteCommand | None:
    """The site's own command that ``command`` asks for; None if it asks for a built-in one.

    Raises ``CommandError`` if it is unknown or malformed.
    """
    if (definition := COMMANDS.get(command.type)) is not None:
        if definition.check_payload is not None:
            definition.check_payload(command.payload)
        return None
    if (declaration := DECLARATIONS.get(command.type)) is None:
        known = ", ".join(COMMANDS)
        raise CommandError(ErrorCode.UNKNOWN_TYPE, f"Expected one of these types: {known}.")
    try:
        return SiteCommand.read(connection, declaration, command)
    except Exception as error:  # Also of the site's validators, and of its converters of routes.
        raise answer_to(error, f"Reading a command {declaration.type}", command.room) from None


def is_instant(connection: Connection, options: RoomOptions | None) -> bool:
    """Whether :func:`handle` publishes a message without waiting, so that it needs no task.

    ``options`` are those that :func:`pm_realtime.conf.message_options` knows of its room.
    """
    if not connection.is_certain or (options is not None and options.on_message is not None):
        return False
    return push_streams().is_in_process and is_in_process(get_layer())


async def handle(connection: Connection, command: Command) -> None:
    """Carry out a built-in ``command`` that :func:`read` accepted. Raises ``CommandError``."""
    await COMMANDS[command.type].handler(connection, command)
