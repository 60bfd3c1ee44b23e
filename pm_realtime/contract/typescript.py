"""TypeScript of JSON Schemas, in the form that prettier gives it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pm_realtime.contract.json_schema import REF_PREFIX, Schema

LINE_LENGTH: Final = 80

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
    if "properties" in schema and not _is_open(schema):
        return f"{about}export interface {name} {{\n{_members(schema)}}}\n"
    return f"{about}{_statement(f'export type {name} =', members_of(schema), '')}\n"


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
    return about + _statement(f"{indent}{key(name)}{mark}:", members_of(schema), indent) + "\n"


def key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else literal(name)


def literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def comment(lines: Iterable[str], indent: str = "") -> str:
    """A comment with the lines that are not empty; no comment if there are none."""
    text = "\n".join(filter(None, lines)).replace("*/", "*\\/").strip()
    if not text:
        return ""
    if "\n" not in text and len(f"{indent}/** {text} */") <= LINE_LENGTH:
        return f"{indent}/** {text} */\n"
    body = "".join(f"{indent} * {line}".rstrip() + "\n" for line in text.splitlines())
    return f"{indent}/**\n{body}{indent} */\n"


def expression(schema: Any) -> str:
    """The type of ``schema`` on one line."""
    return " | ".join(members_of(schema))


def members_of(schema: Any) -> list[str]:
    """The members of the union that ``schema`` is; a single one if it is none."""
    if schema is False:
        return ["never"]
    if not isinstance(schema, dict):
        return ["unknown"]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return _unique(part for each in schema[word] for part in members_of(each))
    if "allOf" in schema:
        parts = [_grouped(each) for each in schema["allOf"]]
        return [" & ".join(parts)] if len(parts) > 1 else members_of(schema["allOf"][0])
    if isinstance(kind := schema.get("type"), list):
        kinds = [{**schema, "type": each} for each in kind]
        return _unique(part for each in kinds for part in members_of(each))
    return _unique(_plain(schema))


def _plain(schema: Schema) -> Iterator[str]:
    if "$ref" in schema:
        yield schema["$ref"].removeprefix(REF_PREFIX)
    elif "const" in schema:
        yield literal(schema["const"])
    elif "enum" in schema:
        yield from map(literal, schema["enum"])
    elif schema.get("type") == "array":
        yield _array(schema)
    elif schema.get("type") == "object" or "properties" in schema:
        yield _object(schema)
    else:
        yield _TYPES.get(schema.get("type", ""), "unknown")


def _array(schema: Schema) -> str:
    items = schema.get("items", {})
    if not isinstance(items, list):
        if schema.get("maxItems") == 0:
            return "[]"
        return f"{_grouped(items)}[]"
    needed = schema.get("minItems", 0)
    places = [
        _grouped(each) if place < needed else f"{_grouped(each)}?"
        for place, each in enumerate(items)
    ]
    if (rest := schema.get("additionalItems", True)) is not False:
        places.append(f"...{_grouped(rest)}[]")
    return f"[{', '.join(places)}]"


def _object(schema: Schema) -> str:
    parts = []
    if schema.get("properties"):
        needed = schema.get("required", [])
        fields = [
            f"{key(name)}{'' if name in needed else '?'}: {expression(each)}"
            for name, each in schema["properties"].items()
        ]
        parts.append(f"{{ {'; '.join(fields)} }}")
    if not parts or _is_open(schema):
        parts.append(_index(schema))
    return " & ".join(parts)


def _index(schema: Schema) -> str:
    values = expression(schema.get("additionalProperties", {}))
    names = schema.get("propertyNames", {})
    if "enum" in names or "$ref" in names:
        return f"{{ [key in {expression(names)}]?: {values} }}"
    return f"{{ [key: string]: {values} }}"


def _is_open(schema: Schema) -> bool:
    """Whether an object has fields of a known type and of any name."""
    return isinstance(schema.get("additionalProperties"), dict)


def _members(schema: Schema) -> str:
    needed = schema.get("required", [])
    return "".join(
        field(name, each, optional=name not in needed)
        for name, each in schema["properties"].items()
    )


def _statement(head: str, members: list[str], indent: str) -> str:
    """``head`` with a union behind it, on lines of their own if they are too long for one."""
    line = f"{head} {' | '.join(members)};"
    if len(line) <= LINE_LENGTH or len(members) == 1:
        return line
    return head + "".join(f"\n{indent}  | {member}" for member in members) + ";"


def _grouped(schema: Any) -> str:
    """The type of ``schema``, in parentheses if it is a union or an intersection."""
    text, members = expression(schema), members_of(schema)
    return f"({text})" if len(members) > 1 or " & " in text else text


def _unique(parts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(parts))
