"""The types of pushes that a site has declared."""

from typing import Any, Final, NamedTuple


class PushType(NamedTuple):
    """The type of the payload of pushes named ``type``, and the module that declares it."""

    type: str
    annotation: Any
    declared_in: str


#: By their names, in the order of declaration. Of two of one name, the first counts.
PUSH_TYPES: Final[dict[str, PushType]] = {}


def push_type(type: str, annotation: Any) -> None:
    """Declare that the payload of each push named ``type`` is of the type ``annotation``.

    Payloads are then checked where they are pushed, and the type is in the schema.
    """
    PUSH_TYPES.setdefault(type, PushType(type, annotation, ""))
