"""The decisions about a command of the site that need its declaration and nothing of a connection.

May its sender call it, does its room fit the route, and does its payload fit the type.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from pm_realtime.commands.declarations import Declaration
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import ErrorCode, check_room
from pm_realtime.roles import has_role
from pm_realtime.schemas import InvalidPayload


def route_values(declaration: Declaration, room: str | None) -> Mapping[str, Any]:
    """The values of the route. Raises ``CommandError`` if ``room`` is missing or does not fit."""
    if declaration.room is None:
        return {}
    if room is None:
        _refuse_room(declaration, "no room")
    values = declaration.match(check_room(room))
    if values is None:
        _refuse_room(declaration, "another one")
    return values


def find_refusal(
    declaration: Declaration, room: str | None, *, is_authenticated: bool, role: str | None
) -> CommandError | None:
    """Why a user with ``role`` may not do this; None if they may."""
    if not is_authenticated:
        if declaration.public:
            return None
        return CommandError(ErrorCode.AUTH_REQUIRED, "Log in to do this.", room=room)
    if declaration.min_role is None or has_role(role, declaration.min_role):
        return None
    return CommandError(ErrorCode.FORBIDDEN, "Your role may not do this.", room=room)


def convert_payload(declaration: Declaration, payload: Any, room: str | None) -> Any:
    """``payload`` as the annotation says, as it is without one. Raises ``CommandError``."""
    if declaration.payload is None:
        return payload
    try:
        return declaration.payload.convert(payload)
    except InvalidPayload as error:
        code = ErrorCode.INVALID_PAYLOAD
        raise CommandError(code, error.message, room=room, path=error.path) from None


def _refuse_room(declaration: Declaration, found: str) -> NoReturn:
    text = f"Expected `room` to be like {declaration.room}, got {found}."
    raise CommandError(ErrorCode.INVALID_ROOM, text)
