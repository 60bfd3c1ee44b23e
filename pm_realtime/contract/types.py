"""The JSON Schemas of all types that a site declares."""

from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import inspect as mi

from pm_realtime.contract.json_schema import Form, JsonSchemas, Schema, finish
from pm_realtime.contract.msgspec_types import Translator, bounds, custom_types
from pm_realtime.contract.pydantic_models import Models
from pm_realtime.schemas import Marker, PydanticType, is_model, payload_type, readable


class Wanted(NamedTuple):
    """A type whose schema is wanted in one form."""

    annotation: Any
    form: Form


def json_schemas(wanted: Sequence[Wanted], reserved: Iterable[str] = ()) -> JsonSchemas:
    """The schemas of ``wanted``, in their order. No type has one of the ``reserved`` names.

    Raises ``TypeError`` if a type cannot be read.
    """
    reader = _Reader()
    for each in wanted:
        reader.read(each.annotation, each.form)
    definitions = reader.models.define()
    schemas = [reader.schema(each.annotation, each.form) for each in wanted]
    return finish(schemas, {**reader.translator.definitions, **definitions}, reserved)


class _Reader:
    """Reads all types first, and then makes their schemas."""

    def __init__(self) -> None:
        self.models = Models()
        self.translator = Translator(self._custom)
        #: By the id of an annotation, which is kept with it. None: pydantic reads it.
        self._read: dict[int, tuple[Any, mi.Type | None]] = {}

    def read(self, annotation: Any, form: Form) -> None:
        """Read ``annotation``, and the types in it that msgspec leaves to others."""
        info = self._info(annotation)
        if info is None:
            self.models.add(annotation, form)
            return
        for cls in custom_types(info):
            if is_model(cls):
                self.models.add(cls, form)
            elif isinstance(cls, Marker):
                for part in _parts(cls.annotation):
                    self.read(part, form)

    def schema(self, annotation: Any, form: Form) -> Schema:
        """The schema of an annotation that was read before."""
        info = self._info(annotation)
        if info is None:
            return self.models.schema(annotation, form)
        return self.translator.schema(info, form)

    def _info(self, annotation: Any) -> mi.Type | None:
        if (found := self._read.get(id(annotation))) is None:
            found = self._read[id(annotation)] = annotation, _type_info(annotation)
        return found[1]

    def _custom(self, cls: type, form: Form) -> Schema:
        """The schema of a class that is not msgspec's."""
        if is_model(cls):
            return self.models.schema(cls, form)
        if not isinstance(cls, Marker):
            return {}
        if parts := _parts(cls.annotation):
            return self.translator.union([self.schema(part, form) for part in parts])
        return _decimal(cls.annotation)


def _type_info(annotation: Any) -> mi.Type | None:
    if isinstance(payload_type(annotation), PydanticType):
        return None
    with readable(annotation) as found:
        return mi.type_info(found)


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The parts of what a marker stands for; empty for a ``Decimal`` with bounds."""
    if get_origin(annotation) in (Union, UnionType):
        return get_args(annotation)
    return (annotation,) if is_model(annotation) else ()


def _decimal(annotation: Any) -> Schema:
    """The schema of a ``Decimal`` with bounds, which are for people, as it is a text."""
    schema: Schema = {"type": "string", "format": "decimal"}
    for meta in get_args(annotation)[1:]:
        if isinstance(meta, msgspec.Meta):
            schema |= bounds(meta, None)
            for word in ("title", "description", "examples"):
                if (value := getattr(meta, word)) is not None:
                    schema[word] = value
            schema |= meta.extra_json_schema or {}
    return schema
