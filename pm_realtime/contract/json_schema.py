"""JSON Schemas (draft 7) that refer to each other by names.

A field with a default may be missing in a value from a client, and is there in one to a client. So
a type can have two forms.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pm_realtime.contract.names import TypeName, unique_names

Schema = dict[str, Any]

#: How one schema refers to another.
REF_PREFIX: Final = "#/components/schemas/"

_OF_ONE: Final = ("additionalProperties", "propertyNames", "contains", "not", "if", "then", "else")
_OF_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_OF_NAMES: Final = ("properties", "patternProperties")


class Form(StrEnum):
    """The direction in which values travel: from clients, or to them."""

    INPUT = "Input"
    OUTPUT = "Output"


class Key(NamedTuple):
    """A named type in one form. Without a form, it has only one."""

    type: Any
    form: Form | None = None


class Definition(NamedTuple):
    """The schema of a named type. It refers to others by ``{"$ref": Key(…)}``."""

    schema: Schema
    name: TypeName


class JsonSchemas(NamedTuple):
    """Schemas in the order in which they were asked for, and those that they refer to by name."""

    schemas: list[Schema]
    components: dict[str, Schema]


def map_schema(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """A copy of ``schema`` in which ``change`` was applied to each schema, innermost first."""
    if not isinstance(schema, dict):
        return schema
    copied = dict(schema)
    for word in _OF_ONE:
        if word in copied:
            copied[word] = map_schema(copied[word], change)
    for word in _OF_LISTS:
        if word in copied:
            copied[word] = [map_schema(each, change) for each in copied[word]]
    for word in _OF_NAMES:
        if word in copied:
            copied[word] = {name: map_schema(each, change) for name, each in copied[word].items()}
    if isinstance(items := copied.get("items"), list):
        copied["items"] = [map_schema(each, change) for each in items]
    elif items is not None:
        copied["items"] = map_schema(items, change)
    return change(copied)


def described(schema: Schema, **words: Any) -> Schema:
    """``schema`` with more keywords, which draft 7 ignores beside a reference."""
    if not words:
        return schema
    return {"allOf": [schema], **words} if "$ref" in schema else {**schema, **words}


def finish(
    schemas: Iterable[Schema], definitions: dict[Key, Definition], reserved: Iterable[str]
) -> JsonSchemas:
    """Give each definition a name of its own, none of them ``reserved``, and have all refer to it.

    The forms of a type that are alike become one.
    """
    twofold = _types_with_two_forms(definitions)
    kept = {_key(key, twofold): definition for key, definition in definitions.items()}
    names = _names(kept, reserved)

    def refer(schema: Schema) -> Schema:
        key = schema.get("$ref")
        if not isinstance(key, Key):
            return schema
        return {**schema, "$ref": REF_PREFIX + names[_key(key, twofold)]}

    components = {names[key]: map_schema(each.schema, refer) for key, each in kept.items()}
    return JsonSchemas(
        [map_schema(schema, refer) for schema in schemas],
        {name: components[name] for name in sorted(components)},
    )


def _key(key: Key, twofold: set[Any]) -> Key:
    return key if key.type in twofold else Key(key.type)


def _names(definitions: dict[Key, Definition], reserved: Iterable[str]) -> dict[Key, str]:
    """The names of types. If a type has two forms, the one for clients has the type's own name."""
    types = unique_names({key.type: each.name for key, each in definitions.items()}, reserved)
    inputs = {
        key: TypeName(*[f"{types[key.type]}{Form.INPUT}"] * 2)
        for key in definitions
        if key.form is Form.INPUT
    }
    names = unique_names(inputs, {*reserved, *types.values()})
    return {key: names.get(key, types[key.type]) for key in definitions}


def _types_with_two_forms(definitions: dict[Key, Definition]) -> set[Any]:
    """The types that differ between their forms, by themselves or by a type that they refer to."""
    pairs = {
        key.type: [definitions[Key(key.type, form)].schema for form in Form]
        for key in definitions
        if all(Key(key.type, form) in definitions for form in Form)
    }
    bare = {type: [_without_forms(each) for each in forms] for type, forms in pairs.items()}
    differing = {type for type, (first, second) in bare.items() if first != second}
    references = {type: _references(forms[0]) for type, forms in pairs.items()}
    count = -1
    while count != len(differing):
        count = len(differing)
        differing |= {type for type, found in references.items() if found & differing}
    return differing


def _without_forms(schema: Schema) -> Any:
    """``schema``, with types instead of keys in its references."""

    def change(each: Schema) -> Schema:
        key = each.get("$ref")
        return {**each, "$ref": key.type} if isinstance(key, Key) else each

    return map_schema(schema, change)


def _references(schema: Schema) -> set[Any]:
    """The types that ``schema`` refers to."""
    found = set()

    def note(each: Schema) -> Schema:
        if isinstance(key := each.get("$ref"), Key):
            found.add(key.type)
        return each

    map_schema(schema, note)
    return found
