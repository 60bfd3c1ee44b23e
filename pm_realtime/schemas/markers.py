"""Classes that stand for what msgspec does not read by itself.

These are a ``Decimal`` with bounds, types of pydantic of which values are no instances, and a union
that has one of them or a model of pydantic beside other types. msgspec hands the values of such a
class to a hook.
"""

import dataclasses
import inspect
import operator
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import reduce
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    NewType,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec

from pm_realtime.schemas.bounds import bounded_decimal, has_bounds
from pm_realtime.schemas.payload_types import InvalidPayload, PayloadType
from pm_realtime.schemas.pydantic_types import PydanticType, is_model, makes_instances

_lock: Final = threading.RLock()


class Marker(type):
    """The class of the classes that stand for ``annotation``.

    ``convert`` makes a value of it, or raises ``ValueError``.
    """

    annotation: Any
    convert: Callable[[Any], Any]

    def __instancecheck__(cls, instance: object) -> bool:
        return True  # The hook has made it.


def _marker(annotation: Any, convert: Callable[[Any], Any]) -> Marker:
    found = Marker("Marker", (), {})
    found.annotation = annotation
    found.convert = convert
    return found


class Replaced:
    """``annotation`` with markers, and the fields of the classes in it that have some.

    ``read`` makes the type of a part of it. Raises any error of evaluating an annotation.
    """

    def __init__(self, annotation: Any, read: Callable[[Any], PayloadType]) -> None:
        self._read = read
        self._seen: set[type] = set()
        #: By class: the annotations of its own fields that are others now.
        self._fields: dict[type, dict[str, Any]] = {}
        self.annotation = self._replace(annotation)

    @contextmanager
    def in_classes(self) -> Iterator[None]:
        """Have the classes their fields with markers, which msgspec then keeps in mind."""
        with _lock:
            before = {each: inspect.get_annotations(each) for each in self._fields}
            try:
                for each, fields in self._fields.items():
                    _annotate(each, {**before[each], **fields})
                yield
            finally:
                for each, fields in before.items():
                    _annotate(each, fields)

    def _replace(self, annotation: Any) -> Any:
        origin, args = get_origin(annotation), get_args(annotation)
        if (meant := _meant_by(annotation)) is not annotation:
            found = self._replace(meant)
            return annotation if found is meant else found
        if origin is Annotated:
            return self._replace_annotated(annotation, args[0])
        if origin in (Union, UnionType):
            return self._replace_union(annotation, args)
        if origin is None:
            return self._replace_class(annotation) if isinstance(annotation, type) else annotation
        return self._replace_generic(annotation, origin, args)

    def _replace_generic(self, annotation: Any, origin: Any, args: tuple[Any, ...]) -> Any:
        if isinstance(origin, type):
            self._replace_class(origin)
        found = [self._replace(each) for each in args]
        if all(map(operator.is_, found, args)):
            return annotation
        return origin[found[0] if len(found) == 1 else tuple(found)]

    def _replace_annotated(self, annotation: Any, base: Any) -> Any:
        metas = annotation.__metadata__
        if is_model(annotation):
            return _marker(annotation, PydanticType(annotation).convert)
        if has_bounds(annotation):
            if _is_decimal(base):
                return _marker(annotation, bounded_decimal(annotation))
            parts = get_args(base) if get_origin(base) in (Union, UnionType) else ()
            if any(map(_is_decimal, parts)):
                # The bounds are those of each part.
                return self._replace(_union([_annotated(each, metas) for each in parts]))
        found = self._replace(base)
        return annotation if found is base else _annotated(found, metas)

    def _replace_union(self, annotation: Any, args: tuple[Any, ...]) -> Any:
        found = [self._replace(each) for each in args]
        by_hook = [each for each in found if isinstance(each, Marker) or is_model(each)]
        if by_hook and msgspec.UnsetType in args:  # No value is one of it: the field is missing.
            rest = _union([each for each in args if each is not msgspec.UnsetType])
            return _union([self._replace(rest), msgspec.UnsetType])
        if by_hook and len(found) - (NoneType in found) > 1:
            rest = [each for each in args if not self._is_by_hook(each)]
            choices = [*([_union(rest)] if rest else []), *filter(self._is_by_hook, args)]
            return _marker(annotation, _first_fit([self._read(each) for each in choices]))
        return annotation if all(map(operator.is_, found, args)) else _union(found)

    def _is_by_hook(self, annotation: Any) -> bool:
        return isinstance(self._replace(annotation), Marker) or is_model(annotation)

    def _replace_class(self, kind: type) -> Any:
        if is_model(kind):
            return kind if makes_instances(kind) else _marker(kind, PydanticType(kind).convert)
        if kind in self._seen or not _has_fields(kind):
            return kind
        self._seen.add(kind)
        for base in kind.__mro__:
            for generic in vars(base).get("__orig_bases__", ()):
                self._replace(generic)  # For the classes in its arguments.
            own = inspect.get_annotations(base)
            if not own or base.__module__ in ("msgspec", "builtins", "typing"):
                continue
            hints = get_type_hints(base, include_extras=True)
            for name in own:
                if (found := self._replace(hints[name])) is not hints[name]:
                    self._fields.setdefault(base, {})[name] = found
        return kind


def hook(kind: Any, value: Any) -> Any:
    """The ``dec_hook`` of msgspec: ``value`` as one of the class ``kind``, which it does not know.

    Raises ``ValueError``, to which msgspec adds the path.
    """
    if isinstance(kind, Marker):
        return kind.convert(value)
    if is_model(kind):
        return model_type(kind).convert(value)
    if kind is object:
        return value
    raise InvalidPayload(f"Expected a value of the type {kind.__name__}.")


_models: Final[dict[type, PydanticType]] = {}


def model_type(kind: type) -> PydanticType:
    """The type of a model, made once."""
    if (found := _models.get(kind)) is None:
        found = _models[kind] = PydanticType(kind)
    return found


def _first_fit(choices: list[PayloadType]) -> Callable[[Any], Any]:
    """The function that makes a value of the first of ``choices`` that it fits."""

    def convert(value: Any) -> Any:
        errors = []
        for each in choices:
            try:
                return each.convert(value)
            except InvalidPayload as error:
                errors.append(error)
        # One that is about a part of the value was close.
        raise next((each for each in errors if each.path), errors[-1])

    return convert


def _has_fields(kind: type) -> bool:
    is_named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    is_record = dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__")
    return is_named_tuple or is_record or is_typeddict(kind) or issubclass(kind, msgspec.Struct)


def _meant_by(annotation: Any) -> Any:
    """The meaning of a ``NewType`` or of an alias by ``type``."""
    if isinstance(annotation, NewType):
        return annotation.__supertype__
    return getattr(annotation, "__value__", annotation)


def _is_decimal(annotation: Any) -> bool:
    while (meant := _meant_by(annotation)) is not annotation:
        annotation = meant
    return annotation is Decimal


def _union(parts: list[Any]) -> Any:
    return reduce(lambda one, other: Union[one, other], parts)  # noqa: UP007


def _annotated(annotation: Any, metas: tuple[Any, ...]) -> Any:
    if annotation is NoneType:
        return None
    return Annotated[(annotation, *metas)]


def _annotate(kind: type, annotations: Mapping[str, Any]) -> None:
    kind.__annotations__ = dict(annotations)
