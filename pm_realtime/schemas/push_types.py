"""The types of pushes that a site has declared."""

import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from pm_realtime.schemas.msgspec_types import payload_type
from pm_realtime.schemas.payload_types import PayloadType


@dataclass(frozen=True, eq=False)
class PushType:
    """The type of the payload of pushes named ``type``, and the module that declares it."""

    #: Any value, if the site has made a mistake.
    type: str
    annotation: Any
    declared_in: str
    #: Later declarations of the same name, which is a mistake.
    rivals: list["PushType"] = field(default_factory=list, repr=False)

    @cached_property
    def payload(self) -> PayloadType:
        """Read at the first use. Raises ``TypeError`` if the annotation cannot be read."""
        return payload_type(self.annotation)


#: By their names, in the order of declaration. Of two of one name, the first counts.
PUSH_TYPES: Final[dict[str, PushType]] = {}


def push_type(type: str, annotation: Any) -> None:
    """Declare that the payload of each push named ``type`` is of the type ``annotation``.

    A push with another payload then raises :exc:`~pm_realtime.exceptions.PayloadError`, and the
    type is in the schema. Mistakes are errors of the system checks.
    """
    declared_in = sys._getframe(1).f_globals.get("__name__", "?")
    declared = PushType(type, annotation, declared_in)
    first = PUSH_TYPES.setdefault(type if isinstance(type, str) else repr(type), declared)
    if first is not declared:
        first.rivals.append(declared)
