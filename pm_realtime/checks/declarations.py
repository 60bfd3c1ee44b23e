"""Checks of what a site declares in code: its commands, and the types of pushes."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.commands import DECLARATIONS, Declaration, find_contradictions
from pm_realtime.conf import Fault
from pm_realtime.protocol import RESERVED_TYPES, MessageType
from pm_realtime.schemas import PUSH_TYPES, PushType

_TYPES_HINT = "Use types of msgspec or pydantic that are at the top of a module."


def check_declarations(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Every mistake in the commands and the types of pushes at once."""
    return [*_check_commands(), *_check_pushes()]


def _check_commands() -> Iterator[CheckMessage]:
    for first in DECLARATIONS.values():
        for each in (first, *first.rivals):
            where = f"@command({each.type!r}) {each.declared_in}"
            for fault in _faults_of(each):
                yield _error(where, fault)
            for fault in find_contradictions(each):
                text = f"{where}: {fault.text}"
                yield CheckWarning(text, hint=fault.hint, id=f"pm_realtime.{fault.number}")
            if each is not first:
                text = f"{first.declared_in} is the command of that name already."
                yield _error(where, Fault("E029", text, "Give one of them another name."))


def _faults_of(declaration: Declaration) -> Iterator[Fault]:
    try:
        yield from declaration.faults
    except ImproperlyConfigured:
        return  # The check of the settings reports it.


def _check_pushes() -> Iterator[CheckMessage]:
    for first in PUSH_TYPES.values():
        for each in (first, *first.rivals):
            where = f"push_type({each.type!r}, …) in {each.declared_in}"
            for fault in _push_faults(each):
                yield _error(where, fault)
            if each is not first:
                text = f"{first.declared_in} has declared a type of that name already."
                yield _error(where, Fault("E035", text, "Declare it once, or choose another name."))


def _push_faults(declared: PushType) -> Iterator[Fault]:
    name: Any = declared.type
    if not isinstance(name, str) or not name:
        text = f"expected the type of a push as text, got {name!r}."
        yield Fault("E035", text, "Write it like send_to_room(room, 'auction.price', …).")
    elif name == MessageType.MESSAGE:
        hint = "The room option 'content' has the type of what clients send to a room."
        yield Fault("E035", "a message has a payload of its own form.", hint)
    elif name in RESERVED_TYPES or name.startswith(":"):
        text = "this name belongs to the protocol and its clients."
        yield Fault("E035", text, "Choose a name of your own, such as 'auction.price'.")
    try:
        _ = declared.payload
    except TypeError as error:
        text = f"the type of the payload cannot be read: {str(error).rstrip('.')}."
        yield Fault("E032", text, _TYPES_HINT)


def _error(where: str, fault: Fault) -> CheckMessage:
    return Error(f"{where}: {fault.text}", hint=fault.hint, id=f"pm_realtime.{fault.number}")
