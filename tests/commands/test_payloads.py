"""Payloads of commands: of all that clients send, a function gets values of its annotation.

The others are answered with ``INVALID_PAYLOAD``, before any of the site's code runs.
"""

import dataclasses
import enum
import json
import types
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pm_realtime import Command, command
from pm_realtime.protocol import decode
from pm_realtime.schemas import InvalidPayload, payload_type
from tests.support.helpers import Connection

Positive = Annotated[Decimal, msgspec.Meta(gt=0)]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Inner(msgspec.Struct):
    amount: Positive
    at: datetime | None = None
    color: Color = Color.RED


@dataclasses.dataclass
class Record:
    number: int
    ratio: float = 0.0
    inner: Inner | None = None
    flags: frozenset[Level] = frozenset()


class Options(TypedDict, total=False):
    limit: int
    names: dict[str, list[Inner]]
    keys: dict[int, UUID]


class Pair(NamedTuple):
    first: str
    second: Literal["a", "b"] | None = None


class Tree(msgspec.Struct):
    value: int | str | None = None
    children: "list[Tree]" = []


class Cat(msgspec.Struct, tag=True):
    lives: Annotated[int, msgspec.Meta(ge=0, le=9)]


class Dog(msgspec.Struct, tag=True):
    name: Annotated[str, msgspec.Meta(max_length=5)]


class Model(pydantic.BaseModel):
    number: int
    amount: Annotated[Decimal, pydantic.Field(gt=0)] = Decimal(1)
    day: date | None = None
    pairs: list[Pair] = []
    sub: "Model | None" = None


class Mixed(msgspec.Struct):
    model: Model | None = None
    any: Model | Inner | int | None = None


TYPES = [
    *(Inner, Record, Options, Pair, Tree, Cat | Dog, Model, Mixed, list[Model | None]),
    *(int, float, str, bool, bytes, Decimal, Positive, datetime, date, time, timedelta, UUID),
    *(Color, Level, Literal["a", "b"], None, int | str | None, dict[str, Inner], set[int]),
    *(list[Record], tuple[int, str], tuple[Level, ...], set[Any], dict[UUID, Positive], Any),
    *(dict[Decimal, Any], dict[str, Any], Annotated[float, msgspec.Meta(lt=1)]),
]


def is_of(value: Any, annotation: Any) -> bool:  # noqa: PLR0911
    """Whether ``value`` is of the type ``annotation``, with all that it holds."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return is_of(value, args[0]) and all(is_within(value, each) for each in args[1:])
    if annotation is Any:
        return True
    if annotation in (None, type(None)):
        return value is None
    if origin in (Union, types.UnionType):
        return any(is_of(value, each) for each in args)
    if origin is Literal:
        return any(value == each and type(value) is type(each) for each in args)
    if origin is dict:
        return type(value) is dict and all(
            is_of(key, args[0]) and is_of(each, args[1]) for key, each in value.items()
        )
    if origin is tuple and args[-1] is not Ellipsis:
        return type(value) is tuple and len(value) == len(args) and all(map(is_of, value, args))
    if origin is not None:
        return type(value) is origin and all(is_of(each, args[0]) for each in value)
    if is_typeddict(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        return type(value) is dict and all(is_of(value[name], hints[name]) for name in value)
    if type(value) is not annotation:
        return False
    if hasattr(annotation, "__annotations__") and not issubclass(annotation, enum.Enum):
        hints = get_type_hints(annotation, include_extras=True)
        names = [name for name in fields_of(annotation) if name in hints]
        return all(is_of(getattr(value, name), hints[name]) for name in names)
    return True


def fields_of(cls: Any) -> list[str]:
    if issubclass(cls, pydantic.BaseModel):
        return list(cls.model_fields)
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return list(getattr(cls, "_fields", None) or getattr(cls, "__struct_fields__", ()))


def is_within(value: Any, meta: Any) -> bool:
    if isinstance(meta, pydantic.fields.FieldInfo):
        return value > 0
    bounds = (
        {"gt": value.__gt__, "ge": value.__ge__, "lt": value.__lt__, "le": value.__le__}
        if (isinstance(value, int | float | Decimal))
        else {}
    )
    return all(
        test(getattr(meta, name))
        for name, test in bounds.items()
        if getattr(meta, name) is not None
    ) and (meta.max_length is None or len(value) <= meta.max_length)


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text() | st.sampled_from(
    [
        *("red", "a", "1", "NaN", "sNaN", "-Infinity", "1e999999", "1E-9", "YQ==", "Cat", "Dog"),
        *("2026-01-02", "2026-01-02T03:04:05Z", "9999-12-31T23:59:60Z", "03:04:05", "-P1DT1S"),
        *("12345678-1234-5678-1234-567812345678", "٣", "1_0", " 1", "0x1"),
    ]
)
HUGE = st.sampled_from([10**30, -(10**30), 10**400, 2**63, 2**64, 1e308, 1e-320, -0.0])
NAMES = TEXTS | st.sampled_from(
    [
        *("amount", "at", "color", "number", "ratio", "inner", "flags", "limit", "names", "keys"),
        *("value", "children", "type", "lives", "name", "model", "any", "sub", "pairs", "day"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | HUGE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
VALID = {
    "Inner": {"amount": "1.5", "at": "2026-01-02T03:04:05Z", "color": "blue"},
    "Model": {"number": 1, "amount": "2", "day": "2026-01-02", "pairs": [["a", "b"]], "sub": None},
    "Record": {"number": 1, "ratio": 2, "inner": {"amount": 1}, "flags": [1, 2]},
    "Options": {"limit": 1, "names": {"a": [{"amount": 1}]}, "keys": {"1": str(UUID(int=1))}},
    "Tree": {"value": 1, "children": [{"value": "a", "children": []}, {}]},
    "Cat": {"type": "Cat", "lives": 9},
    "Mixed": {"model": {"number": 1}, "any": {"amount": 1}},
    "Pair": ["a", "b"],
}


@st.composite
def damaged(draw: Any) -> Any:
    """A valid payload of one of the types with another value somewhere in it."""

    def damage(value: Any) -> Any:
        if not isinstance(value, dict | list) or not value or draw(st.integers(0, 3)) == 0:
            return draw(JSON)
        if isinstance(value, Mapping):
            key = draw(st.sampled_from(sorted(value)))
            kept = {name: each for name, each in value.items() if name != key}
            if draw(st.booleans()):
                return {**kept, key: damage(value[key])}
            return {**kept, draw(NAMES): value[key]}
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], damage(value[index]), *value[index + 1 :]]

    value = damage(draw(st.sampled_from(list(VALID.values()))))
    return draw(st.sampled_from([value, [value], {"k": value}]))


READ = [payload_type(annotation) for annotation in TYPES]


def as_received(value: Any) -> Any:
    """``value`` as it comes out of the frame of a client; None if it cannot come."""
    frame = json.dumps({"type": "x", "timestamp": 1, "payload": value})
    return decode(frame, max_bytes=1_000_000).payload


def test_valid_payloads_become_values_of_their_types():
    for name, value in VALID.items():
        fits = [
            each.annotation for each in READ if name in str(each.annotation) and is_fit(each, value)
        ]
        assert fits, name


def is_fit(found: Any, value: Any) -> bool:
    try:
        return is_of(found.convert(value), found.annotation)
    except InvalidPayload:
        return False


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=JSON | damaged())
def test_no_payload_raises_or_becomes_another_type(value):
    try:
        received = as_received(value)
    except Exception:
        assume(False)  # A frame with such numbers or texts is refused before.
    for found in READ:
        try:
            converted = found.convert(received)
        except InvalidPayload:
            continue
        assert is_of(converted, found.annotation), (found.annotation, received, converted)


NASTY = [
    *(None, True, 0, -1, 1.5, 10**30, "", "NaN", [], [[]], {}, {"amount": "NaN"}, [None] * 3),
    *({"amount": "-0"}, {"number": "x"}, {"type": []}, {"number": 10**400}, {"children": [5]}),
    *VALID.values(),
]


@pytest.mark.usefixtures("declarations", "leaves_nothing")
async def test_functions_get_their_types_or_are_not_called(user, configure):
    configure(RATE_LIMIT=None)
    got = []

    def declare(index, annotation):
        @command(f"do.{index}")
        async def function(request: Command, payload: annotation) -> None:
            got.append(is_of(payload, annotation))

    for index, annotation in enumerate(TYPES):
        declare(index, annotation)
    async with Connection(user=user) as connection:
        answers = []
        for index in range(len(TYPES)):
            for payload in NASTY:
                answer = await connection.ask(f"do.{index}", payload)
                answers.append(answer["payload"] and answer["payload"]["code"])
                assert answer["type"] == "result" or "path" in answer["payload"], answer
    assert set(answers) == {None, "INVALID_PAYLOAD"}
    assert got == [True] * answers.count(None)


@dataclasses.dataclass
class Broken:
    number: int

    def __post_init__(self):
        raise KeyError(self.number)


@pytest.mark.usefixtures("declarations", "leaves_nothing")
async def test_broken_validator_of_the_site_is_an_internal_error(user, caplog):
    @command("break")
    async def function(request: Command, payload: Broken) -> None:
        raise AssertionError

    async with Connection(user=user) as connection:
        answer = await connection.ask("break", {"number": 1})
        assert answer["payload"]["code"] == "INTERNAL_ERROR"
        answer = await connection.ask("break", {"number": "x"})
        assert answer["payload"]["code"] == "INVALID_PAYLOAD"
        assert await connection.is_alive()
    assert [record.getMessage() for record in caplog.records] == ["Reading a command break failed."]
