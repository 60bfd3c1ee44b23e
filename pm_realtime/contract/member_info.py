"""The info of the members of a room with presence, as its function is annotated."""

from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints

from django.utils.module_loading import import_string

from pm_realtime.contract.envelopes import TEXT, record
from pm_realtime.contract.json_schema import Form, Schema
from pm_realtime.contract.types import Wanted, json_schemas

#: The info of a member of which nothing is known.
NO_INFO: Final[Schema] = {"type": "object", "additionalProperties": False}
ANY_INFO: Final[Schema] = {"type": "object"}
USUAL_INFO: Final[Schema] = record({"name": TEXT}, optional=["name"])


def info_annotation(presence: Any) -> Any:
    """The type of the info that the option ``presence`` gives to a member.

    ``Any`` if its function is not annotated with it, or with a type that cannot be read.
    """
    path = _path(presence)
    if path is None:
        return Any
    try:
        returned = get_type_hints(import_string(path), include_extras=True).get("return")
        (_, found) = get_args(returned)
        json_schemas([Wanted(found, Form.OUTPUT)])
    except (TypeError, ValueError, NameError, AttributeError, SyntaxError):
        return Any
    return found if issubclass(get_origin(returned) or object, Mapping) else Any


def info_schema(presence: Any, annotated: Schema) -> Schema:
    """The schema of a member's info. ``annotated`` is the one of :func:`info_annotation`."""
    if _path(presence) is None:
        return USUAL_INFO
    return {"anyOf": [annotated, NO_INFO]} if annotated else ANY_INFO


def _path(presence: Any) -> str | None:
    return presence.get("info") if isinstance(presence, Mapping) else None
