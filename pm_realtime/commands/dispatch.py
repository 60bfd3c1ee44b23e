"""From a decoded envelope to its command: a built-in one, or one that the site has declared."""

from pm_realtime.commands.builtin import COMMANDS
from pm_realtime.commands.declarations import DECLARATIONS
from pm_realtime.commands.site_calls import answer_to
from pm_realtime.commands.site_commands import SiteCommand
from pm_realtime.conf import has_on_message
from pm_realtime.exceptions import CommandError
from pm_realtime.layer import get_layer, is_in_process
from pm_realtime.protocol import Command, ErrorCode, MessageType
from pm_realtime.push import push_streams
from pm_realtime.rooms import Connection


def read(connection: Connection, command: Command) -> SiteCommand | None:
    """The site's own command that ``command`` asks for; None if it asks for a built-in one.

    Raises ``CommandError`` if it is unknown or malformed.
    """
    declaration = DECLARATIONS.get(command.type)
    if declaration is None or command.type in COMMANDS:
        check_form(command)
        return None
    try:
        return SiteCommand.read(connection, declaration, command)
    except Exception as error:  # Also of the site's validators, and of its converters of routes.
        raise answer_to(error, f"Reading a command {declaration.type}", command.room) from None


def check_form(command: Command) -> None:
    """Raise ``CommandError`` if ``command`` is no built-in one, or malformed."""
    definition = COMMANDS.get(command.type)
    if definition is None:
        known = ", ".join(COMMANDS)
        raise CommandError(ErrorCode.UNKNOWN_TYPE, f"Expected one of these types: {known}.")
    if definition.check_payload is not None:
        definition.check_payload(command.payload)


def is_instant(connection: Connection, command: Command) -> bool:
    """Whether :func:`handle` carries ``command`` out without waiting, so that it needs no task."""
    is_message = command.type == MessageType.MESSAGE
    if not is_message or not connection.is_certain:
        return False
    if not (push_streams().is_in_process and is_in_process(get_layer())):
        return False
    return not has_on_message(command.payload["room"])


async def handle(connection: Connection, command: Command) -> None:
    """Carry out a built-in ``command`` that :func:`read` accepted. Raises ``CommandError``."""
    await COMMANDS[command.type].handler(connection, command)
