"""JSON Schemas of the types that msgspec reads."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import inspect as mi

from pm_realtime.contract.json_schema import Definition, Form, Key, Schema, described
from pm_realtime.contract.names import name_of
from pm_realtime.schemas import Marker

Described = mi.StructType | mi.TypedDictType | mi.DataclassType | mi.NamedTupleType

#: By names of types of msgspec, some of which only later versions have.
_PLAIN: Final[Mapping[str, Schema]] = {
    "AnyType": {},
    "RawType": {},
    "NoneType": {"type": "null"},
    "BoolType": {"type": "boolean"},
    "IntType": {"type": "integer"},
    "FloatType": {"type": "number"},
    "StrType": {"type": "string"},
    "BytesType": {"type": "string", "contentEncoding": "base64"},
    "ByteArrayType": {"type": "string", "contentEncoding": "base64"},
    "MemoryViewType": {"type": "string", "contentEncoding": "base64"},
    "DateTimeType": {"type": "string", "format": "date-time"},
    "TimeType": {"type": "string", "format": "time"},
    "DateType": {"type": "string", "format": "date"},
    "TimeDeltaType": {"type": "string", "format": "duration"},
    "UUIDType": {"type": "string", "format": "uuid"},
    "DecimalType": {"type": "string", "format": "decimal"},
}
_BOUNDS: Final[Mapping[str, str]] = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}
_SIZES: Final[Mapping[str, str]] = {"string": "Length", "array": "Items", "object": "Properties"}
#: The order of the members of a union, which `typing` may have turned round.
_KINDS: Final = ("boolean", "integer", "number", "string", "array", "object", None)


def custom_types(info: mi.Type) -> Iterator[type]:
    """The classes in ``info`` that are not msgspec's."""
    seen = set()
    waiting = [info]
    while waiting:
        each = waiting.pop()
        if isinstance(each, mi.CustomType):
            yield each.cls
        if isinstance(each, mi.Type) and id(each) not in seen:
            seen.add(id(each))
            waiting += _children(each)


def _children(info: mi.Type) -> list[mi.Type]:
    found = []
    for name in info.__struct_fields__:
        value = getattr(info, name)
        for part in value if isinstance(value, tuple) else [value]:
            found.append(part.type if isinstance(part, mi.Field) else part)
    return [each for each in found if isinstance(each, mi.Type)]


class Translator:
    """Makes schemas, and the definitions of the types that they refer to."""

    def __init__(self, custom: Callable[[type, Form], Schema]) -> None:
        self.definitions: dict[Key, Definition] = {}
        self._custom = custom

    def schema(self, info: mi.Type, form: Form) -> Schema:
        if isinstance(info, mi.Metadata):
            return described(self.schema(info.type, form), **(info.extra_json_schema or {}))
        if (found := _PLAIN.get(type(info).__name__)) is not None:
            return {**found, **bounds(info, found.get("type"))}
        if isinstance(info, mi.EnumType | Described):
            return self._refer(info, None if isinstance(info, mi.EnumType) else form)
        if isinstance(info, mi.CustomType):
            return self._custom(info.cls, form)
        return self._compound(info, form)

    def union(self, members: list[Schema]) -> Schema:
        return {"anyOf": sorted(members, key=_order)} if len(members) > 1 else members[0]

    def _compound(self, info: Any, form: Form) -> Schema:
        """The schema of a type that is made of others, or of values."""
        if isinstance(info, mi.LiteralType):
            return {"enum": list(info.values)}
        if isinstance(info, mi.UnionType):
            return self.union([self.schema(each, form) for each in info.types])
        if isinstance(info, mi.TupleType):
            return _tuple([self.schema(each, form) for each in info.item_types])
        if isinstance(info, mi.CollectionType):
            return self._array(info, form)
        return self._mapping(info, form)

    def _refer(self, info: Any, form: Form | None) -> Schema:
        key = Key(_lasting(info.cls), form)
        if key not in self.definitions:
            # A type may refer to itself.
            name = name_of(key.type)
            self.definitions[key] = Definition({}, name)
            schema = _enum(info) if form is None else self._record(info, form)
            words = {"description": doc} if (doc := _doc(info.cls)) else {}
            self.definitions[key] = Definition({**schema, **words}, name)
        return {"$ref": key}

    def _array(self, info: Any, form: Form) -> Schema:
        schema: Schema = {"type": "array", "items": self.schema(info.item_type, form)}
        if isinstance(info, mi.SetType | mi.FrozenSetType):
            schema["uniqueItems"] = True
        return {**schema, **bounds(info, "array")}

    def _mapping(self, info: Any, form: Form) -> Schema:
        schema: Schema = {"type": "object"}
        names = self.schema(info.key_type, form)
        # A name is always a text: that it is one adds nothing.
        if names.get("type", "string") == "string" and names not in ({}, {"type": "string"}):
            schema["propertyNames"] = names
        schema["additionalProperties"] = self.schema(info.value_type, form)
        return {**schema, **bounds(info, "object")}

    def _record(self, info: Any, form: Form) -> Schema:
        fields = {field.encode_name: self._field(field, form) for field in info.fields}
        needed = [each.encode_name for each in info.fields if _is_there(info, each, form)]
        if (tag_field := getattr(info, "tag_field", None)) is not None:
            fields = {tag_field: {"const": info.tag}, **fields}
            needed.insert(0, tag_field)
        if isinstance(info, mi.NamedTupleType) or getattr(info, "array_like", False):
            return _tuple(list(fields.values()), len(needed))
        schema: Schema = {"type": "object", "properties": fields}
        if needed:
            schema["required"] = needed
        if getattr(info, "forbid_unknown_fields", False):
            schema["additionalProperties"] = False
        return schema

    def _field(self, field: mi.Field, form: Form) -> Schema:
        return described(self.schema(field.type, form), **_default(field))


def _lasting(cls: Any) -> Any:
    """``cls``, or a generic with the annotations of its markers, which are new at each reading."""
    arguments = [each.annotation if isinstance(each, Marker) else each for each in get_args(cls)]
    return get_origin(cls)[tuple(arguments)] if arguments else cls


def _is_there(info: Any, field: mi.Field, form: Form) -> bool:
    """Whether each value has ``field``."""
    if field.required or form is Form.INPUT or isinstance(info, mi.TypedDictType):
        return bool(field.required)
    if isinstance(info, mi.NamedTupleType):
        return True
    config = getattr(info.cls, "__struct_config__", None)
    is_unset = field.default is mi.NODEFAULT and field.default_factory is mi.NODEFAULT
    return not is_unset and not (config is not None and config.omit_defaults)


def _default(field: mi.Field) -> Schema:
    """The keyword with the default of ``field``, if JSON can write it."""
    if field.default_factory in (list, dict, set, frozenset, tuple):
        return {"default": {} if field.default_factory is dict else []}
    if field.default is mi.NODEFAULT:
        return {}
    try:
        plain = msgspec.to_builtins(field.default, str_keys=True)
        if isinstance(field.default, set | frozenset):
            plain = sorted(plain)
        json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError, msgspec.MsgspecError):
        return {}
    return {"default": plain}


def bounds(info: Any, kind: str | None) -> Schema:
    """The keywords for the bounds of ``info``, and for those of the length of a ``kind``."""
    found = {
        word: value
        for name, word in _BOUNDS.items()
        if (value := getattr(info, name, None)) is not None
    }
    is_base64 = "contentEncoding" in _PLAIN.get(type(info).__name__, {})
    for side in ("min", "max"):
        size = getattr(info, f"{side}_length", None)
        if size is not None and kind is not None:
            found[side + _SIZES[kind]] = 4 * ((size + 2) // 3) if is_base64 else size
    return found


def _tuple(items: list[Schema], needed: int | None = None) -> Schema:
    """An array with one schema for each place, of which the first ``needed`` are always there."""
    schema: Schema = {"type": "array"}
    if items:
        schema |= {"items": items, "additionalItems": False}
    return {**schema, "minItems": len(items) if needed is None else needed, "maxItems": len(items)}


def _enum(info: mi.EnumType) -> Schema:
    return {"enum": [member.value for member in info.cls]}


def _doc(cls: Any) -> str:
    """The docstring that a site wrote for ``cls``; empty if Python wrote one, or there is none."""
    origin = getattr(cls, "__origin__", cls)
    doc = inspect.cleandoc(vars(origin).get("__doc__") or "")
    return "" if doc.startswith(f"{origin.__name__}(") else doc


def _order(schema: Schema) -> tuple[bool, int, str]:
    """The place of a schema among the members of a union: null is last."""
    key = schema.get("$ref")
    text = ""
    if isinstance(key, Key):
        text = key.type if isinstance(key.type, str) else name_of(key.type).qualified
    kind = schema.get("type")
    rank = _KINDS.index(kind) if kind in _KINDS else len(_KINDS)
    return kind == "null", rank, text or repr(schema)
