"""Types of payloads that pydantic reads, and sites without pydantic."""

import dataclasses
import subprocess
import sys
from datetime import date
from decimal import Decimal
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
import pydantic
import pytest
from annotated_types import Gt
from pydantic import BaseModel, Discriminator, Field, RootModel, Tag, field_validator

from pm_realtime.schemas import InvalidPayload, PydanticType, payload_type

T = TypeVar("T")


class Bid(BaseModel):
    amount: Decimal = Field(gt=0)
    note: str = Field("", max_length=3)


class Aliased(BaseModel):
    first_name: str = Field(alias="firstName")


class Strict(BaseModel, strict=True, extra="forbid"):
    day: date
    tags: frozenset[str] = frozenset()


class Order(BaseModel):
    bids: list[Bid]
    counts: dict[int, int] = {}


class Page(BaseModel, Generic[T]):
    items: list[T]


class Names(RootModel[list[str]]):
    pass


class Odd(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def check(cls, value):
        if value % 2 == 0:
            raise ValueError("an odd number is needed")
        return value


@pydantic.dataclasses.dataclass
class Point:
    x: Annotated[int, Field(ge=0)]


class Wide(Bid):
    secret: str = "x"


class Mixed(msgspec.Struct):
    bid: Bid
    many: list[Bid] = []
    any: Bid | Order | int | None = None
    point: Point | None = None
    url: pydantic.AnyUrl | None = None


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
#: A function tells its members apart.
Guest = Annotated[
    Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")],
    Discriminator(lambda value: value.get("is")),
]


@dataclasses.dataclass
class Bounded:
    size: Annotated[int, Field(gt=3)]
    count: Annotated[int, Gt(3)] = 4


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (Bid, {"amount": "12.50"}, Bid(amount=Decimal("12.50"))),
        (Bid, {"amount": 10**30, "more": 1}, Bid(amount=Decimal(10**30))),
        (Aliased, {"firstName": "Ada"}, Aliased(firstName="Ada")),
        (
            Strict,
            {"day": "2026-01-02", "tags": ["a"]},
            Strict(day=date(2026, 1, 2), tags=frozenset("a")),
        ),
        (Order, {"bids": [{"amount": 1}], "counts": {"1": 2}}, None),
        (Page[Bid], {"items": [{"amount": 1}]}, Page[Bid](items=[Bid(amount=1)])),
        (Names, ["a"], Names(["a"])),
        (list[Bid], [{"amount": 1}], [Bid(amount=1)]),
        (Bid | None, None, None),
        (Bid | Strict, {"day": "2026-01-02"}, Strict(day=date(2026, 1, 2))),
        (Point, {"x": 1}, Point(1)),
        (Mixed, {"bid": {"amount": 1}}, Mixed(Bid(amount=1))),
        (Mixed, {"bid": {"amount": 1}, "any": {"bids": []}}, Mixed(Bid(amount=1), [], None)),
        (Mixed | Bid, {"amount": 1}, Bid(amount=1)),
        (pydantic.SecretStr, "a", pydantic.SecretStr("a")),
        (Bounded, {"size": 4}, Bounded(4)),
    ],
)
def test_value_that_fits_becomes_one_of_the_type(annotation, given, expected):
    found = payload_type(annotation).convert(given)
    if isinstance(expected, Mixed) and "any" in given:
        assert found.any == Order(bids=[])
    elif expected is not None or given is None:
        assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("annotation", "given", "path", "message"),
    [
        (Bid, {"amount": "0"}, "amount", "Expected a value greater than 0."),
        (Bid, {"amount": "NaN"}, "amount", "Expected a finite number."),
        (Bid, {"amount": 1, "note": "long"}, "note", "Expected String with at most 3 characters."),
        (Bid, {}, "amount", "Expected a value, got none."),
        (Bid, None, "", "Expected an object."),
        (Strict, {"day": "2026-01-02", "b": 1}, "b", "Expected no field of this name."),
        (Strict, {"day": 5}, "day", "Expected a valid date."),
        (Order, {"bids": [{"amount": 1}, {}]}, "bids[1].amount", "Expected a value, got none."),
        (Order, {"bids": [], "counts": {"x": 1}}, "counts[...]", None),
        (list[Bid], [{"amount": 0}], "[0].amount", "Expected a value greater than 0."),
        (Odd, {"number": 2}, "number", "an odd number is needed."),
        (Mixed, {"bid": {"amount": 0}}, "bid.amount", "Expected a value greater than 0."),
        (Mixed, {"bid": {"amount": 1}, "many": [{}]}, "many[0].amount", None),
        (Mixed, {"bid": {"amount": 1}, "any": {"amount": 0}}, "any.amount", None),
        (Mixed, {"bid": {"amount": 1}, "point": {"x": -1}}, "point.x", None),
        (Mixed, {"bid": {"amount": 1}, "url": "?"}, "url", None),
        (Point, {"x": -1}, "x", "Expected a value greater than or equal to 0."),
        (Bid | Strict, {"amount": 0}, "amount", "Expected a value greater than 0."),
        (Bid | Strict, {}, "amount", "Expected a value, got none."),
        (dict[str, Bid | Strict], {"a": {"note": 5}}, "a.amount", "Expected a value, got none."),
        (list[Bid | int], ["x"], "[0]", "Expected an object."),
        (Annotated[int, Field(gt=3)], 3, "", "Expected a value greater than 3."),
        (Pet, {}, "kind", "Expected a value, got none."),
        (Pet, {"kind": "cow"}, "kind", "Expected one of 'cat', 'dog', got 'cow'."),
        (list[Pet], [{"kind": "cat"}, {"kind": 5}], "[1].kind", None),
        (list[Pet], [5], "[0]", "Expected an object."),
        (list[Guest], [{}], "[0]", "Expected another value."),
        (Guest, {"is": "cow"}, "", "Expected one of 'cat', 'dog', got 'cow'."),
        (Bounded, {"size": 3}, "size", "Expected a value greater than 3."),
        (Bounded, {"size": 4, "count": 3}, "count", "Expected a value greater than 3."),
    ],
)
def test_value_that_does_not_fit_is_refused_in_the_same_form(annotation, given, path, message):
    with pytest.raises(InvalidPayload) as caught:
        payload_type(annotation).convert(given)
    assert caught.value.path == path
    assert message in (None, caught.value.message)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (Bid, Bid(amount=1), '{"amount":"1","note":""}'),
        (Bid, {"amount": 1}, '{"amount":"1","note":""}'),
        (Bid, Wide(amount=1), '{"amount":"1","note":""}'),
        (Aliased, Aliased(firstName="Ada"), '{"firstName":"Ada"}'),
        (Names, Names(["a"]), '["a"]'),
        (Mixed, Mixed(Bid(amount=1), [Bid(amount=2)], 5, Point(1)), None),
        (list[Bid], (), "[]"),
    ],
)
def test_value_is_written_as_its_type(annotation, value, text):
    found = payload_type(annotation).encode(value)
    assert text in (None, found)
    payload_type(annotation).convert(msgspec.json.decode(found))


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (Bid, {"amount": 0}, "amount"),
        (Bid, None, ""),
        (Bid, Bid.model_construct(amount="x"), ""),
        (Mixed, Mixed(5), ""),
    ],
)
def test_value_of_another_type_is_not_written(annotation, value, path):
    with pytest.raises(InvalidPayload) as caught:
        payload_type(annotation).encode(value)
    assert path in (caught.value.path, "")


def test_type_that_neither_reads_is_refused():
    class Model(BaseModel):
        other: "Missing"  # noqa: F821

    class Plain:
        pass

    for annotation in (Model, list[Model], Bid | Plain, dict[str, Bid | Plain]):
        with pytest.raises(TypeError):
            payload_type(annotation)


def test_models_are_read_by_pydantic_itself():
    assert isinstance(payload_type(dict[str, Bid]), PydanticType)
    assert not isinstance(payload_type(Mixed), PydanticType)


@pytest.mark.parametrize("is_installed", [True, False])
def test_pydantic_is_not_imported_by_itself(is_installed):
    script = f"""
import sys
if not {is_installed}:
    sys.modules["pydantic"] = None  # Importing it fails.
import django
django.setup()
from decimal import Decimal
from typing import Annotated
import msgspec
from django.core.checks import run_checks
from pm_realtime import Command, command, push_type
from pm_realtime.commands import DECLARATIONS
class Bid(msgspec.Struct):
    amount: Annotated[Decimal, msgspec.Meta(gt=0)]
@command("auction.bid")
def bid(request: Command, payload: Bid | None) -> list[Bid]: ...
push_type("auction.price", dict[str, Bid])
assert not [each for each in run_checks() if each.id.startswith("pm_realtime.E03")]
assert DECLARATIONS["auction.bid"].payload.convert({{"amount": 1}}) == Bid(Decimal(1))
print(sys.modules.get("pydantic"))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"
