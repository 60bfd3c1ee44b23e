"""Types of payloads: which values of JSON fit them, and what is said of those that do not."""

import dataclasses
import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from pm_realtime.schemas import InvalidPayload, payload_type

T = TypeVar("T")
Positive = Annotated[Decimal, msgspec.Meta(gt=0)]
Amount = NewType("Amount", Decimal)


class Color(enum.Enum):
    RED = "red"


Many = enum.Enum("Many", {f"M{number}": number for number in range(30)})


class Bid(msgspec.Struct):
    amount: Positive
    note: Annotated[str, msgspec.Meta(max_length=3)] = ""


@dataclasses.dataclass
class Order:
    bids: list[Bid]
    best: dict[str, Positive | None] = dataclasses.field(default_factory=dict)
    step: Annotated[Decimal | int | None, msgspec.Meta(multiple_of=5)] = None


@dataclasses.dataclass(frozen=True)
class Stock:
    count: int = 1
    parts: "tuple[Stock, ...]" = ()
    low: Positive = Decimal(2)


class Change(msgspec.Struct):
    price: Positive | msgspec.UnsetType = msgspec.UNSET
    step: Positive | int | msgspec.UnsetType | None = msgspec.UNSET


class Options(TypedDict, total=False):
    limit: Annotated[Decimal, msgspec.Meta(ge=1, le=9)]
    order: Order


class Pair(NamedTuple):
    first: Positive
    second: Literal["none"] | Positive = "none"


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


class Ask(msgspec.Struct):
    amount: Positive


class Asks(Page[Ask]):
    number: int = 0


class Node(msgspec.Struct):
    weight: Annotated[Amount, msgspec.Meta(lt=10)]
    next: "Node | None" = None


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    first_name: str


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    name: str


@dataclasses.dataclass
class Even:
    number: int

    def __post_init__(self):
        if self.number % 2:
            raise ValueError("Expected an even number - at `$.home`")


MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
KEY = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (Bid, {"amount": "12.50", "more": 1}, Bid(Decimal("12.50"))),
        (Bid, {"amount": 12.5}, Bid(Decimal("12.5"))),
        (Bid, {"amount": 10**30}, Bid(Decimal(10**30))),
        (Order, {"bids": [{"amount": 1}]}, Order([Bid(Decimal(1))])),
        (Order, {"bids": [], "best": {"a": None, "b": "1"}}, Order([], {"a": None, "b": 1})),
        (Order, {"bids": [], "step": 15}, Order([], {}, 15)),
        (Options, {"limit": 9}, {"limit": Decimal(9)}),
        (Options, {"other": 9}, {}),
        (Pair, ["1"], Pair(Decimal(1))),
        (Pair, ["1", "2.5"], Pair(Decimal(1), Decimal("2.5"))),
        (Pair, ["1", "none"], Pair(Decimal(1), "none")),
        (Page[Bid], {"items": [{"amount": 1}]}, Page([Bid(Decimal(1))])),
        (Page[Positive], {"items": [1]}, Page([Decimal(1)])),
        (Asks, {"items": [{"amount": 1}]}, Asks([Ask(Decimal(1))])),
        (Node, {"weight": 1, "next": {"weight": "2"}}, Node(Decimal(1), Node(Decimal(2)))),
        (Strict, {"firstName": "Ada"}, Strict("Ada")),
        (Cat | Dog, {"type": "dog", "name": "Rex"}, Dog("Rex")),
        (Change, {}, Change()),
        (Change, {"price": 1, "step": "2"}, Change(Decimal(1), Decimal(2))),
        (Positive, "1", Decimal(1)),
        (Positive | None, None, None),
        (list[Positive], [1], [Decimal(1)]),
        (dict[int, Positive], {"7": "1"}, {7: Decimal(1)}),
        (dict[UUID, Any], {str(KEY): [1]}, {KEY: [1]}),
        (set[int], [1, 1, 2], {1, 2}),
        (frozenset[str], ["a"], frozenset("a")),
        (tuple[int, str], [1, "a"], (1, "a")),
        (float, 1, 1.0),
        (datetime, "2026-01-02T03:04:05.678Z", MOMENT),
        (date, "2026-01-02", date(2026, 1, 2)),
        (time, "03:04:05", time(3, 4, 5)),
        (timedelta, "-P1DT10S", -timedelta(days=1, seconds=10)),
        (UUID, str(KEY), KEY),
        (bytes, "YQ==", b"a"),
        (Color, "red", Color.RED),
        (Literal["b", "a"], "a", "a"),
        (None, None, None),
        (Any, {"a": [1]}, {"a": [1]}),
        (object, {"a": [1]}, {"a": [1]}),
    ],
)
def test_value_that_fits_becomes_one_of_the_type(annotation, given, expected):
    found = payload_type(annotation).convert(given)
    assert (found, type(found)) == (expected, type(expected))


class Shelf(msgspec.Struct):
    stock: Stock
    neighbours: "list[Shelf]" = []

    def __post_init__(self):
        self.neighbours = [*self.neighbours, self]


def test_value_that_holds_itself_is_converted():
    found = payload_type(Shelf).convert({"stock": {}})
    assert found.neighbours[0] is found
    assert vars(found.stock)["count"] == 1


def test_dataclass_has_all_of_its_fields():
    found = payload_type(dict[str, Stock]).convert({"a": {"parts": [{"low": 3}]}})["a"]
    assert vars(found) == {"count": 1, "parts": (Stock(low=Decimal(3)),), "low": 2}
    assert vars(found.parts[0]) == {"count": 1, "parts": (), "low": 3}


@pytest.mark.parametrize(
    ("annotation", "given", "path", "message"),
    [
        (Bid, {"amount": "0"}, "amount", "Expected `decimal` > 0."),
        (Bid, {"amount": "x"}, "amount", "Expected a valid decimal string."),
        (Bid, {"amount": True}, "amount", "Expected `decimal`, got `bool`."),
        (Bid, {"amount": "NaN"}, "amount", "Expected a finite `decimal`."),
        (Bid, {"amount": "sNaN"}, "amount", "Expected a finite `decimal`."),
        (Bid, {"amount": "Infinity"}, "amount", "Expected a finite `decimal`."),
        (Bid, {"amount": "1", "note": "long"}, "note", "Expected `str` of length <= 3."),
        (Bid, {}, "amount", "Expected a value, got none."),
        (Bid, None, "", "Expected `object`, got `null`."),
        (Bid, [], "", "Expected `object`, got `array`."),
        (Order, {"bids": [{"amount": 1}, {}]}, "bids[1].amount", "Expected a value, got none."),
        (Order, {"bids": [], "best": {"a": "0"}}, "best[...]", "Expected `decimal` > 0."),
        (
            Order,
            {"bids": [], "step": "1e999999"},
            "step",
            "Expected `decimal` that's a multiple of 5.",
        ),
        (Options, {"limit": "9.01"}, "limit", "Expected `decimal` <= 9."),
        (Options, {"order": {"bids": 5}}, "order.bids", "Expected `array`, got `int`."),
        (Pair, ["1", "0"], "[1]", "Expected `decimal` > 0."),
        (Page[Positive], {"items": [1, 0]}, "items[1]", "Expected `decimal` > 0."),
        (Node, {"weight": 1, "next": {"weight": 10}}, "next.weight", "Expected `decimal` < 10."),
        (Strict, {"firstName": "A", "b": 1}, "b", "Expected no field of this name."),
        (Cat | Dog, {"type": "cow"}, "type", "Expected one of 'cat', 'dog', got 'cow'."),
        (list[Cat | Dog], [{"type": 5}], "[0].type", "Expected `str`, got `int`."),
        (dict[str, list[Cat | Dog]], {"a": [{"type": "x"}]}, "[...][0].type", None),
        (Literal[1, 2] | Literal["a"] | None, "b", "", "Expected one of 1, 2, 'a', got 'b'."),
        (tuple[int, Color], [1, "x"], "[1]", "Expected one of 'red', got 'x'."),
        (Many, 30, "", "Expected one of its possible values, got 30."),
        (Even, {"number": 1}, "", "Expected an even number - at `$.home`."),
        (list[Even], [{"number": 1}], "[0]", "Expected an even number - at `$.home`."),
        (dict[int, int], {"x": 1}, "[...]", "Expected `int`, got `str` as a key."),
        (dict[str, dict[int, int]], {"a": {"x": 1}}, "[...][...]", None),
        (set[Any], [[1]], None, None),
        (Color, "blue", "", "Expected one of 'red', got 'blue'."),
        (list[Color], ["b` - at `$.x"], "[0]", "Expected one of 'red', got 'b` - at `$.x'."),
        (Strict, {"firstName": "A", "b` - at `$.x": 1}, "b` - at `$.x", None),
        (UUID, "x", "", "Expected a valid UUID."),
        (int, 1.5, "", "Expected `int`, got `float`."),
        (int, True, "", "Expected `int`, got `bool`."),
        (float, 10**400, "", None),
        (timedelta, "P999999999999D", "", "Expected a smaller Duration."),
        (None, 1, "", "Expected `null`, got `int`."),
    ],
)
def test_value_that_does_not_fit_is_refused_with_its_path(annotation, given, path, message):
    with pytest.raises(InvalidPayload) as caught:
        payload_type(annotation).convert(given)
    found = caught.value
    assert path in (None, found.path)
    assert message in (None, found.message)
    assert str(found) == (f"{found.path}: " if found.path else "") + found.message


def test_message_with_a_value_of_the_client_is_short():
    with pytest.raises(InvalidPayload) as caught:
        payload_type(Color).convert("x" * 60_000)
    assert len(caught.value.message) < 400


def test_site_may_read_its_classes_as_before():
    payload_type(Bid)
    assert Bid.__annotations__["amount"] == Positive
    assert msgspec.json.encode(Bid(Decimal(1))) == b'{"amount":"1","note":""}'


@pytest.mark.parametrize(
    "annotation",
    [complex, list[complex], Callable, str | bytes, Bid | Order, "no name", 5, Page[complex]],
)
def test_type_that_no_json_can_become_is_refused(annotation):
    with pytest.raises(TypeError):
        payload_type(annotation)


class Wide(Bid):
    secret: str = "x"


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (Bid, Bid(Decimal("1.50")), '{"amount":"1.50","note":""}'),
        (Bid, {"amount": 1}, '{"amount":"1","note":""}'),
        (Bid, Wide(Decimal(1)), '{"amount":"1","note":""}'),
        (list[Bid], [Wide(Decimal(1))], '[{"amount":"1","note":""}]'),
        (Options, {"limit": Decimal(1), "secret": 1}, '{"limit":"1"}'),
        (list[Stock], [{"count": 2}], '[{"count":2,"parts":[],"low":"2"}]'),
        (Change, Change(step=None), '{"step":null}'),
        (Strict, Strict("Ada"), '{"firstName":"Ada"}'),
        (Cat | Dog, Cat(9), '{"type":"cat","lives":9}'),
        (dict[UUID, int], {KEY: 1}, f'{{"{KEY}":1}}'),
        (set[int], {1}, "[1]"),
        (str, mark_safe("<b>"), '"<b>"'),
        (str, gettext_lazy("Yes"), '"Yes"'),
        (datetime, MOMENT, '"2026-01-02T03:04:05.678Z"'),
        (datetime, datetime(2026, 1, 2, 3, 4, 5, 678912), '"2026-01-02T03:04:05.678"'),
        (timedelta, timedelta(seconds=-1), '"-P0DT00H00M01S"'),
        (bytes, b"a", '"YQ=="'),
        (Color, Color.RED, '"red"'),
        (int, 10**30, "1" + "0" * 30),
        (None, None, "null"),
        (Any, {"at": MOMENT, "bids": (Bid(Decimal(1)),)}, None),
        (dict[str, Any], {"at": MOMENT}, '{"at":"2026-01-02T03:04:05.678Z"}'),
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
        (Bid, Order([]), "amount"),
        (None, 1, ""),
        (float, float("nan"), ""),
        (list[int], [1, "2"], "[1]"),
        (Bid, object(), ""),
        (Any, object(), ""),
        (str, "\ud800", ""),
        (dict[str, Any], {"a": object()}, ""),
    ],
)
def test_value_of_another_type_is_not_written(annotation, value, path):
    with pytest.raises(InvalidPayload) as caught:
        payload_type(annotation).encode(value)
    assert caught.value.path == path


def test_value_that_holds_itself_is_not_written():
    value = []
    value.append(value)
    for annotation in (Any, list[Any]):
        with pytest.raises(InvalidPayload):
            payload_type(annotation).encode(value)
