"""JSON Schemas of what pydantic reads, by pydantic itself, which a site may not have."""

import sys
from collections.abc import Mapping
from typing import Any, Final

from pm_realtime.contract.json_schema import Definition, Form, Key, Schema, map_schema
from pm_realtime.contract.names import TypeName, identifier
from pm_realtime.schemas import PydanticType

_MODES: Final[Mapping[Form, Any]] = {Form.INPUT: "validation", Form.OUTPUT: "serialization"}
_PREFIX: Final = "#/$defs/"


class Models:
    """The annotations that pydantic reads. It has to see all at once, to tell their names apart."""

    def __init__(self) -> None:
        self._types: dict[tuple[int, Form], PydanticType] = {}
        self._schemas: dict[tuple[int, Form], Schema] = {}

    def add(self, annotation: Any, form: Form) -> None:
        self._types.setdefault((id(annotation), form), PydanticType(annotation))

    def schema(self, annotation: Any, form: Form) -> Schema:
        """The schema of an annotation that was added before :meth:`define`."""
        return self._schemas[id(annotation), form]

    def define(self) -> dict[Key, Definition]:
        """Make the schemas, and return the definitions that they refer to."""
        if not self._types:
            return {}
        found, whole = sys.modules["pydantic"].TypeAdapter.json_schemas(
            [(key, _MODES[key[1]], type.adapter) for key, type in self._types.items()],
            schema_generator=_generator(),
        )
        for (key, _), schema in found.items():
            self._schemas[key] = map_schema(schema, _to_draft_7)
        return {
            Key(_PREFIX + name): Definition(map_schema(schema, _to_draft_7), _name(name))
            for name, schema in whole.get("$defs", {}).items()
        }


def _generator() -> Any:
    """pydantic's generator, but what the server sends has every field, and no title is made up."""
    base: Any = sys.modules["pydantic.json_schema"].GenerateJsonSchema

    def field_is_required(self: Any, field: Any, total: bool) -> bool:
        if self.mode == "serialization" and field["type"] in ("model-field", "dataclass-field"):
            return not field.get("serialization_exclude")
        return bool(base.field_is_required(self, field, total))

    def field_title_should_be_set(self: Any, schema: Any) -> bool:
        return False

    own = {
        "field_is_required": field_is_required,
        "field_title_should_be_set": field_title_should_be_set,
    }
    return type("Generator", (base,), own)


def _name(name: str) -> TypeName:
    """Of ``shop__realtime__Bid-Input``, which pydantic has if there are two of the name ``Bid``."""
    whole, _, form = name.partition("-")
    suffix = "Input" if form == "Input" else ""
    whole = whole.rstrip("_")  # Of the bracket of a generic.
    plain = whole.rpartition("__")[2] or whole
    return TypeName(identifier(plain) + suffix, identifier(whole) + suffix)


def _to_draft_7(schema: Schema) -> Schema:
    """``schema`` in the words of draft 7, without what means something else in AsyncAPI."""
    left_out = ("discriminator", "prefixItems")
    changed = {word: value for word, value in schema.items() if word not in left_out}
    if (items := schema.get("prefixItems")) is not None:
        changed["items"] = items
        changed["additionalItems"] = schema.get("items", False)
    if (reference := schema.get("$ref")) is not None:
        del changed["$ref"]
        key: Schema = {"$ref": Key(reference)}
        return {"allOf": [key], **changed} if changed else key
    return changed
