"""The signatures of functions that carry out commands: which arguments they take, and of what type.

The first argument is the request. The payload and the values of the route are passed by name.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from inspect import Parameter
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, get_type_hints
from uuid import UUID

from asgiref.sync import iscoroutinefunction
from django.urls import converters

from pm_realtime.conf import Fault
from pm_realtime.schemas import PayloadType, payload_type

PAYLOAD: Final = "payload"

_HINT: Final = (
    "The first parameter is the request, `payload` the payload, and all others are named like the "
    "values of the route."
)
#: By the converter of a route's value: the type of the value.
_CONVERTED: Final[Mapping[type, type]] = {
    converters.IntConverter: int,
    converters.UUIDConverter: UUID,
    converters.StringConverter: str,
    converters.SlugConverter: str,
    converters.PathConverter: str,
}
_VARIADIC: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class Signature(NamedTuple):
    """The types of a function's arguments. ``payload`` is None if it takes no payload."""

    payload: PayloadType | None
    result: PayloadType
    faults: list[Fault]


def read_signature(function: Any, values: Mapping[str, Any] | None) -> Signature:
    """The signature of ``function``; ``values`` are the converters of the route, by name.

    None stands for values that are not known: any parameter may be one.
    """
    anything = payload_type(Any)
    if isinstance(function, type):
        text = f"expected a function, got the class {function.__qualname__}."
        hint = "Write a function, or give an instance: command('auction.bid')(Handler())."
        return Signature(None, anything, [Fault("E031", text, hint)])
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        text = f"expected a function, got {function!r} ({error})."
        return Signature(None, anything, [Fault("E031", text, _HINT)])
    first, rest = (parameters[0], parameters[1:]) if parameters else (None, [])
    faults = list(_find_misfits(function, first, rest, values))
    has_payload = any(each.name == PAYLOAD and each.kind not in _VARIADIC for each in rest)
    payload = _type_of(function, PAYLOAD, "the payload", faults) if has_payload else None
    result = _type_of(function, "return", "the result", faults)
    for name, converter in (values or {}).items():
        faults.extend(_check_value(function, name, converter))
    return Signature(payload, result, faults)


def _find_misfits(
    function: Any,
    first: Parameter | None,
    rest: list[Parameter],
    known_values: Mapping[str, Any] | None,
) -> Iterator[Fault]:
    values = known_values or {}
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        yield Fault("E031", "a generator gives no answer.", "Use return instead of yield.")
    if first is None or first.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        yield Fault("E031", "expected a first parameter for the request.", _HINT)
        return
    if first.kind is Parameter.VAR_POSITIONAL:
        rest = [first, *rest]
    elif first.name in (PAYLOAD, *values):
        text = f"the first parameter, `{first.name}`, is the request, and nothing else."
        yield Fault("E031", text, f"Write def {_name(function)}(request, {first.name}, …).")
    if PAYLOAD in values:
        text = "a value of the route is named `payload`, as the payload of the command is."
        yield Fault("E031", text, "Give the value another name.")
    by_name = {each.name: each for each in rest if each.kind not in _VARIADIC}
    takes_all = any(each.kind is Parameter.VAR_KEYWORD for each in rest)
    for name in values:
        if name not in by_name and not takes_all and name not in (PAYLOAD, first.name):
            text = f"it takes no `{name}`, which is a value of the route."
            yield Fault("E031", text, f"Add a parameter of the name {name}.")
    for name, parameter in by_name.items():
        may_be_unknown = known_values is None or parameter.default is not Parameter.empty
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            yield Fault("E031", f"its `{name}` cannot be passed by name.", "Leave the slash out.")
        elif name not in (PAYLOAD, *values) and not may_be_unknown:
            text = f"its parameter `{name}` is neither `payload` nor a value of the route."
            yield Fault("E031", text, _HINT)


def _type_of(function: Any, name: str, subject: str, faults: list[Fault]) -> PayloadType:
    try:
        return payload_type(_annotation(function, name, Any))
    except Exception as error:
        text = f"the type of {subject} cannot be read: {str(error).rstrip('.')}."
        hint = "Use types of msgspec or pydantic that are at the top of a module."
        faults.append(Fault("E032", text, hint))
        return payload_type(Any)


def _check_value(function: Any, name: str, converter: Any) -> Iterator[Fault]:
    """Check a value of the route against its annotation, if the types of both are plain."""
    try:
        annotation = _annotation(function, name, Any)
    except Exception:
        return  # It is for people, as no value is converted.
    kind = _CONVERTED.get(type(converter))
    is_plain = isinstance(annotation, type) and annotation in _CONVERTED.values()
    if kind is not None and is_plain and kind is not annotation:
        text = f"its `{name}` is of {annotation.__name__}, but the route gives {kind.__name__}."
        yield Fault("E031", text, f"Annotate it as {kind.__name__}, or use another converter.")


def _annotation(function: Any, name: str, default: Any) -> Any:
    """The annotation of one parameter, or of the result, evaluated. Raises any error of that.

    One by one, so that an import for type checkers alone harms nobody.
    """
    target = _annotated(function)
    annotations = getattr(target, "__annotations__", {})
    if name not in annotations:
        return default
    module = sys.modules.get(getattr(target, "__module__", ""))
    names = getattr(target, "__globals__", None) or vars(module or SimpleNamespace())
    local_names = {each.__name__: each for each in getattr(target, "__type_params__", ())}
    stub = SimpleNamespace(__annotations__={name: annotations[name]})
    return get_type_hints(stub, names, local_names, include_extras=True)[name]


def is_async(function: Any) -> bool:
    """Whether a call of ``function``, or of an object with ``__call__``, has to be awaited."""
    call = getattr(type(function), "__call__", None)  # noqa: B004
    return iscoroutinefunction(function) or iscoroutinefunction(call)


def innermost(function: Any) -> Any:
    """The function within the decorators and the ``partial`` of ``function``."""
    function = inspect.unwrap(function)
    while isinstance(function, partial):
        function = inspect.unwrap(function.func)
    return function


def _annotated(function: Any) -> Any:
    """The function that has the annotations of ``function``."""
    function = innermost(function)
    return function if hasattr(function, "__annotations__") else type(function).__call__


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "handler")
