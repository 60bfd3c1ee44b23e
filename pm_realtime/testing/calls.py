"""Calls of a site's commands in its tests, without a socket."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.db import transaction
from msgspec.json import decode

from pm_realtime.accounts import is_logged_in
from pm_realtime.auth import anonymous
from pm_realtime.commands import (
    DECLARATIONS,
    Declaration,
    convert_payload,
    find_refusal,
    route_values,
)
from pm_realtime.conf import ROUTE_VALUE, parse_route
from pm_realtime.exceptions import PayloadError
from pm_realtime.protocol import Command, Envelope, encode
from pm_realtime.roles import role_of
from pm_realtime.schemas import InvalidPayload


class CommandFailed(AssertionError):
    """The answer to a command is an error. ``payload`` is all that the client gets.

    ``code``, ``path`` and ``data`` are those of the error; None if it has none.
    """

    def __init__(self, type: str, payload: Mapping[str, Any]) -> None:
        super().__init__(f"Expected a result of {type!r}, got the error {payload}.")
        self.payload = payload
        self.code: str = payload["code"]
        self.message: str = payload["message"]
        self.path: str | None = payload.get("path")
        self.data: Any = payload.get("data")


def as_json(type: str, payload: Any) -> Any:
    """The ``payload`` of a command ``type`` as JSON has it: dates and Decimals as texts."""
    if payload is None:
        return None
    return decode(encode(Envelope(type=type, payload=payload, timestamp=0)))["payload"]


def call_command_handler(
    function: Callable[..., Any],
    *,
    user: Any = None,
    payload: Any = None,
    room: str | None = None,
    id: str | None = None,
    **values: Any,
) -> Any:
    """Call ``function``, a sync handler of a command, as the server does for a client.

    ``user`` is the client's, None for nobody, and counts as in the room if the command needs one.
    ``room`` is its name, or ``values`` are those of its route, as in ``pk=7``. ``id`` is that of
    the command, by default a new one: nothing is remembered under it. Rates and the timeout do not
    count.

    Returns what ``function`` returned. Raises ``CommandError`` as the client gets it, for the right
    to the command, for a payload that does not fit (``details["path"]``), and what ``function``
    raises; ``PayloadError`` if the client could not get what it returned.
    """
    call = _Call(function, user, payload, room, values, id=id)
    if call.declaration.is_async:
        raise TypeError(f"{function.__name__} is async. Await acall_command_handler() instead.")
    with call.transaction():
        return call.checked(function(*call.arguments, **call.keywords))


async def acall_command_handler(
    function: Callable[..., Any],
    *,
    user: Any = None,
    payload: Any = None,
    room: str | None = None,
    id: str | None = None,
    **values: Any,
) -> Any:
    """As :func:`call_command_handler`, for sync handlers and for async ones."""
    call = await sync_to_async(_Call)(function, user, payload, room, values, id=id)
    if not call.declaration.is_async:
        return await sync_to_async(call_command_handler)(
            function, user=user, payload=payload, room=room, id=id, **values
        )
    return call.checked(await function(*call.arguments, **call.keywords))


class _Call:
    """One call: it is allowed, and the arguments have their types."""

    def __init__(
        self,
        function: Callable[..., Any],
        user: Any,
        payload: Any,
        room: str | None,
        values: dict[str, Any],
        *,
        id: str | None,
    ) -> None:
        self.declaration = declaration = _declaration_of(function)
        room, captured = _room_of(declaration, room, values)
        user = anonymous().user if user is None else user
        if not hasattr(user, "is_authenticated"):
            raise TypeError(f"Expected a user or None, got {user!r} ({type(user).__name__}).")
        role, is_authenticated = role_of(user), is_logged_in(user)
        refusal = find_refusal(declaration, room, is_authenticated=is_authenticated, role=role)
        if refusal is not None:
            raise refusal
        payload = convert_payload(declaration, as_json(declaration.type, payload), room)
        self.keywords = dict(captured)
        if declaration.payload is not None:
            self.keywords["payload"] = payload
        request = Command(
            type=declaration.type,
            payload=payload,
            id=id or uuid4().hex,
            room=room,
            user=user,
            role=role,
        )
        self.arguments = (request,)

    def transaction(self) -> AbstractContextManager[Any]:
        alias = self.declaration.database
        return nullcontext() if alias is None else transaction.atomic(using=alias)

    def checked(self, result: Any) -> Any:
        """``result``, once it is known that it can be written."""
        try:
            self.declaration.result.encode(result)
        except InvalidPayload as error:
            raise PayloadError(
                f"{self.declaration.type!r} returned what is not of the type that it is annotated "
                f"with: {error}"
            ) from None
        return result


def _declaration_of(function: Callable[..., Any]) -> Declaration:
    for declaration in DECLARATIONS.values():
        if declaration.function is function:
            if declaration.faults:
                raise TypeError(f"{declaration.type!r} is faulty. Run manage.py check.")
            return declaration
    name = getattr(function, "__qualname__", repr(function))
    raise TypeError(f"Expected a function that @command has registered, got {name}.")


def _room_of(
    declaration: Declaration, room: str | None, values: dict[str, Any]
) -> tuple[str | None, Mapping[str, Any]]:
    """The name of the room of a call, and the values of its route."""
    route = declaration.room
    if route is None:
        if values:
            raise TypeError(f"{declaration.type!r} has no room, got {', '.join(values)}.")
        return None, {}
    if room is not None and values:
        raise TypeError(f"Expected `room` or the values of {route}, got both: {', '.join(values)}.")
    room = room if room is not None else _name_of(route, values)
    return room, route_values(declaration, room)


def _name_of(route: str, values: dict[str, Any]) -> str:
    """The name of the room of ``route`` with ``values``."""
    needed = ROUTE_VALUE.findall(route)
    if sorted(needed) != sorted(values):
        names = ", ".join(needed) or "nothing else"
        raise TypeError(f"Expected `room`, or the values of {route} ({names}), got {[*values]}.")
    converters = parse_route(route).converters
    return ROUTE_VALUE.sub(lambda found: converters[found[1]].to_url(values[found[1]]), route)
