"""The declarations of a shop, with types of every kind that msgspec and pydantic read."""

import datetime
import enum
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic

from pm_realtime.commands import command
from pm_realtime.schemas import push_type
from tests.contract import auctions

T = TypeVar("T")

ROOMS = {
    "support": {
        "min_role": "editor",
        "content": "tests.contract.shop.Note",
        "presence": {"info": "tests.contract.shop.describe"},
    },
    "auction:<int:pk>": {"public": True, "publish_role": "anonymous", "presence": True},
    "file:<slug:owner>/<path:name>": {"publish_role": "server"},
}


class Bid(msgspec.Struct):
    """A bid for what is sold."""

    amount: Annotated[Decimal, msgspec.Meta(gt=0, description="In euros.")]


class Receipt(msgspec.Struct):
    pk: int
    note: str = ""


class Colour(enum.Enum):
    """How it is painted."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Cat(msgspec.Struct, tag="cat"):
    lives: Annotated[int, msgspec.Meta(ge=1, le=9, description="Ends a comment: */")] = 9


class Dog(msgspec.Struct, tag="dog", forbid_unknown_fields=True):
    places: tuple[int, str]


class Node(msgspec.Struct, rename="camel"):
    node_id: uuid.UUID
    sub_nodes: "list[Node]" = []
    colour: Colour = Colour.RED
    by_colour: dict[Colour, int] | None = None
    left_out: int | msgspec.UnsetType = msgspec.UNSET


class Page(msgspec.Struct, Generic[T]):
    items: list[T]
    following: int | None = None


@dataclass
class Order:
    """One order."""

    when: datetime.datetime
    pet: Cat | Dog | None
    wait: datetime.timedelta | None = None
    counts: dict[str, int] = field(default_factory=dict)


class Filter(TypedDict):
    text: str
    levels: NotRequired[list[Literal["low", "high"]]]


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Address(pydantic.BaseModel):
    """A pydantic model."""

    street: str = pydantic.Field(min_length=1, alias="streetName")
    lines: list[str] = []
    parent: "Address | None" = None


@pydantic.dataclasses.dataclass
class Size:
    width: int
    height: int = 1


class Parcel(msgspec.Struct):
    """Its parts are of msgspec and of pydantic."""

    address: Address
    content: Cat | Address | str | None
    size: Size = Size(1)
    price: Annotated[Decimal, msgspec.Meta(ge=0)] | None = None


class Note(TypedDict):
    text: str


class Person(TypedDict):
    """Somebody in a room."""

    name: str
    colour: NotRequired[Colour]


def describe(users: list[Any]) -> dict[int, Person]:
    return {user.pk: {"name": user.username} for user in users}


def declare():
    """Declare it all."""

    @command("auction.bid", room="auction:<int:pk>", min_role="user", rate="10/s")
    def bid(request, payload: Bid, pk: int) -> Receipt:
        """Bid for what is sold.

        A bid is final.
        """

    @command("auction.old", room="auction:<int:pk>", joined=False)
    def old(request, pk: int) -> Page[auctions.Bid]: ...

    @command("orders", public=True)
    async def orders(request, payload: Filter) -> Page[Order]: ...

    @command("order", timeout=2.5)
    def order(request, payload: Order) -> None: ...

    @command("tree move/up")
    def move(request, payload: Node | None) -> Node: ...

    @command("address")
    def address(request, payload: Address) -> list[Address]: ...

    @command("support.solve", room="support", min_role="editor")
    def solve(request, payload: tuple[int, ...]) -> dict[str, Level]: ...

    @command("draft", room="draft:<uuid:pk>")
    def draft(request, payload: Any, pk: uuid.UUID): ...

    @command("parcel")
    def parcel(request, payload: Parcel | None) -> Page[Annotated[Decimal, msgspec.Meta(gt=0)]]: ...

    push_type("sold", Page[Annotated[Decimal, msgspec.Meta(gt=0)]])
    push_type("auction.price", Annotated[Decimal, msgspec.Meta(description="The highest bid.")])
    push_type("moved", list[Point])
    push_type("notification", Receipt)
