"""TypeScript of JSON Schemas."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pm_realtime.contract.json_schema import REF_PREFIX, Schema
from pm_realtime.contract.shapes import (
    LINE_LENGTH,
    Array,
    Name,
    OneOf,
    Record,
    Shape,
    Tuple,
    member,
)

_TYPES: Final[Mapping[str, str]] = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
#: Keywords that a comment tells, as TypeScript has no word for them.
_TAGS: Final = (
    *("format", "contentEncoding", "pattern", "minimum", "exclusiveMinimum", "maximum"),
    *("exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems"),
    "default",
)
#: Those whose values are words.
_WORDS: Final = ("format", "contentEncoding", "pattern")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def declaration(name: str, schema: Schema) -> str:
    """An exported type with the name of ``schema``."""
    about = comment([schema.get("description", "")])
    if "properties" not in schema or _is_open(schema):
        return f"{about}{member(f'export type {name} =', shape_of(schema), '')}\n"
    needed = schema.get("required", [])
    fields = [
        field(each, value, optional=each not in needed)
        for each, value in schema["properties"].items()
    ]
    return about + interface(name, fields)


def interface(name: str, fields: Iterable[str]) -> str:
    body = "".join(fields)
    return f"export interface {name} {{\n{body}}}\n" if body else f"export interface {name} {{}}\n"


def field(name: str, schema: Schema, *, optional: bool = False, indent: str = "  ") -> str:
    """A member of an interface, with its comment."""
    # The length of a tuple is in its type.
    is_tuple = isinstance(schema.get("items"), list)
    tags = [
        f"@{tag} {schema[tag] if tag in _WORDS else literal(schema[tag])}"
        for tag in _TAGS
        if tag in schema and not (is_tuple and tag in ("minItems", "maxItems"))
    ]
    about = comment([schema.get("description", ""), *tags], indent)
    mark = "?" if optional else ""
    return f"{about}{indent}{member(f'{key(name)}{mark}:', shape_of(schema), indent)}\n"


def key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else literal(name)


def literal(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.count('"') > value.count("'"):
        inside = text[1:-1].replace('\\"', '"').replace("'", "\\'")
        return f"'{inside}'"
    return text


def comment(lines: Iterable[str], indent: str = "") -> str:
    """A comment with the lines that are not empty; no comment if there are none."""
    text = "\n".join(filter(None, lines)).replace("*/", "*\\/").strip()
    if not text:
        return ""
    if "\n" not in text and len(f"{indent}/** {text} */") <= LINE_LENGTH:
        return f"{indent}/** {text} */\n"
    body = "".join(f"{indent} * {line}".rstrip() + "\n" for line in text.splitlines())
    return f"{indent}/**\n{body}{indent} */\n"


def shape_of(schema: Any) -> Shape:
    """The type of the values of ``schema``."""
    members = _members(schema)
    return members[0] if len(members) == 1 else OneOf(members)


def _members(schema: Any) -> list[Shape]:
    """The members of the union that ``schema`` is; a single one if it is none."""
    if not isinstance(schema, dict):
        return [Name("never" if schema is False else "unknown")]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return _unique(part for each in schema[word] for part in _members(each))
    if "allOf" in schema:
        parts = [shape_of(each) for each in schema["allOf"]]
        return [OneOf(parts, "&")] if len(parts) > 1 else _members(schema["allOf"][0])
    if isinstance(kinds := schema.get("type"), list):
        alone = [{**schema, "type": kind} for kind in kinds]
        return _unique(part for each in alone for part in _members(each))
    return _unique(_plain(schema))


def _plain(schema: Schema) -> Iterator[Shape]:
    if "$ref" in schema:
        yield Name(schema["$ref"].removeprefix(REF_PREFIX))
    elif "const" in schema:
        yield Name(literal(schema["const"]))
    elif "enum" in schema:
        yield from (Name(literal(value)) for value in schema["enum"])
    elif schema.get("type") == "array":
        yield _array(schema)
    elif schema.get("type") == "object" or "properties" in schema:
        yield _object(schema)
    else:
        yield Name(_TYPES.get(schema.get("type", ""), "unknown"))


def _array(schema: Schema) -> Shape:
    items = schema.get("items", {})
    if not isinstance(items, list):
        return Tuple([], []) if schema.get("maxItems") == 0 else Array(shape_of(items))
    needed = schema.get("minItems", 0)
    places = [shape_of(each) for each in items]
    marks = [("", "" if place < needed else "?") for place in range(len(items))]
    if (rest := schema.get("additionalItems", True)) is not False:
        places.append(shape_of(rest))
        marks.append(("...", "[]"))
    return Tuple(places, marks)


def _object(schema: Schema) -> Shape:
    parts: list[Shape] = []
    if schema.get("properties"):
        needed = schema.get("required", [])
        parts.append(
            Record(
                [
                    (f"{key(name)}{'' if name in needed else '?'}:", shape_of(each))
                    for name, each in schema["properties"].items()
                ]
            )
        )
    if not parts or _is_open(schema):
        parts.append(_index(schema))
    return OneOf(parts, "&") if len(parts) > 1 else parts[0]


def _index(schema: Schema) -> Shape:
    values = shape_of(schema.get("additionalProperties", {}))
    names = schema.get("propertyNames", {})
    if "enum" in names or "$ref" in names:
        return Record([(f"[key in {shape_of(names).flat()}]?:", values)])
    return Record([("[key: string]:", values)])


def _is_open(schema: Schema) -> bool:
    """Whether an object has fields of a known type and of any name."""
    return isinstance(schema.get("additionalProperties"), dict)


def _unique(shapes: Iterable[Shape]) -> list[Shape]:
    return list({shape.flat(): shape for shape in shapes}.values())
