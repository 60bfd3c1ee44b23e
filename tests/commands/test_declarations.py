"""The commands that a site declares."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pm_realtime import command

if TYPE_CHECKING:
    from pm_realtime import Command

pytestmark = pytest.mark.usefixtures("declarations")


class Bid(msgspec.Struct):
    amount: int


class Mark:
    async def __call__(self, request): ...


class Receipt(msgspec.Struct):
    pk: int


def test_decorator_registers_and_returns_the_function(declarations):
    def bid(request: Command, payload: Bid, pk: int) -> Receipt:
        raise AssertionError

    decorate = command("auction.bid", room="auction:<int:pk>", min_role="user", rate="10/s")
    assert decorate(bid) is bid
    found = declarations["auction.bid"]
    assert (found.type, found.function, found.room) == ("auction.bid", bid, "auction:<int:pk>")
    assert (found.joined, found.min_role, found.public) == (True, "user", False)
    assert (found.rate, found.timeout_seconds, found.database) == ("10/s", 10, "default")
    assert found.faults == []
    assert found.payload.convert({"amount": 5}) == Bid(5)
    assert found.result.encode(Receipt(3)) == '{"pk":3}'


def test_function_without_a_payload_has_no_type_of_it(declarations):
    @command("mark.read")
    def mark(request):
        raise AssertionError

    assert declarations["mark.read"].payload is None
    assert declarations["mark.read"].result.annotation is Any


def test_function_is_found_in_a_partial(declarations):
    def bid(request, payload, step):
        """Bid for what is sold."""

    command("auction.bid")(partial(bid, step=2))
    found = declarations["auction.bid"]
    assert found.declared_in.endswith(".<locals>.bid")
    assert found.doc == "Bid for what is sold."


def test_callable_is_named_by_its_class(declarations):
    command("mark.read")(Mark())
    found = declarations["mark.read"]
    assert found.declared_in == f"{__name__}.Mark"
    assert found.is_async


def test_payload_without_an_annotation_is_anything(declarations):
    @command("mark.read")
    def mark(request, payload):
        raise AssertionError

    assert declarations["mark.read"].payload.convert([1, None]) == [1, None]


@pytest.mark.parametrize(
    ("room", "name", "values"),
    [
        ("auction:<int:pk>", "auction:7", {"pk": 7}),
        ("auction:<int:pk>", "auction:x", None),
        ("auction:<int:pk>", "auction:7:8", None),
        ("auction:<int:pk>", "auction:7\n", None),
        ("auction:<int:pk>", "my auction:7", None),
        ("support", "support", {}),
        ("support", "supporters", None),
        ("a:<slug:one>/<path:rest>", "a:b/c/d", {"one": "b", "rest": "c/d"}),
    ],
)
def test_route_captures_the_values_of_a_name(declarations, room, name, values):
    @command("x", room=room)
    def function(request, **values):
        raise AssertionError

    assert declarations["x"].match(name) == values
    assert declarations["x"].faults == []


def test_types_that_are_defined_later_are_found(declarations):
    @command("later")
    def later(request, payload: Later) -> Later:
        raise AssertionError

    assert declarations["later"].payload.convert({"a": 1}) == Later(1)


class Later(msgspec.Struct):
    a: int


def test_database_is_that_of_a_sync_function(declarations):
    @command("one", atomic="archive")
    def one(request): ...

    @command("two", atomic=False)
    def two(request): ...

    @command("three")
    async def three(request): ...

    found = [declarations[name] for name in ("one", "two", "three")]
    assert [each.database for each in found] == ["archive", None, None]
    assert [each.is_async for each in found] == [False, False, True]
