"""Payloads of a site come out as Django's ``JsonResponse`` writes them."""

import array
import asyncio
import collections
import dataclasses
import datetime
import enum
import http
import json
import types
import uuid
from decimal import Decimal
from unittest.mock import Mock

import msgspec
import orjson
import pydantic
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.files.base import ContentFile
from django.db.models import IntegerChoices, TextChoices
from django.forms import CharField, EmailField, Form
from django.http import JsonResponse, QueryDict
from django.utils.datastructures import CaseInsensitiveMapping, MultiValueDict
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, ngettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from pm_realtime.exceptions import PayloadError
from pm_realtime.protocol import encode, make_envelope


def written(payload):
    return json.loads(encode(make_envelope("x", payload))).get("payload")


def by_django(payload):
    return json.loads(JsonResponse(payload, safe=False).content)


class Detail(str):
    """As an ``ErrorDetail`` of Django REST framework."""

    def __new__(cls, text, code=None):
        self = super().__new__(cls, text)
        self.code = code
        return self

    def __str__(self):
        return "never written"

    def __repr__(self):
        return f"Detail({super().__str__()!r}, code={self.code!r})"


class Model(pydantic.BaseModel):
    number: int = 1


class Money(int):
    def __str__(self):
        return f"{int(self)} EUR"

    __repr__ = __str__


class Ratio(float):
    def __repr__(self):
        return "a ratio"


class Renamed(dict):
    """Its items are not those inside."""

    def items(self):
        return [(f"my {key}", value) for key, value in super().items()]


class Doubled(list):
    def __iter__(self):
        for each in super().__iter__():
            yield from (each, each)


class Reversed(tuple):
    __slots__ = ()

    def __iter__(self):
        return reversed(tuple(super().__iter__()))


class Kept(collections.UserList, list):
    """A list whose items are elsewhere, as those of Django's ``ErrorList``."""


class Kind(str, enum.Enum):  # noqa: UP042 - Its `str()` is the name of the member.
    NOTICE = "notice"


class Level(int, enum.Enum):
    HIGH = 3


class Share(float, enum.Enum):
    HALF = 0.5


class Choice(TextChoices):
    YES = "y", gettext_lazy("Yes")


class Count(IntegerChoices):
    ONE = 1, "One"


class Permission(enum.IntFlag):
    READ = 1
    WRITE = 2


Point = collections.namedtuple("Point", "x y")


class Contact(Form):
    name = CharField()
    email = EmailField()


def errors():
    form = Contact({"email": "nobody"})
    assert not form.is_valid()
    form.add_error(None, format_html("<b>{}</b>", "No."))
    return form.errors


MOMENT = datetime.datetime(2026, 2, 3, 4, 5, 6, 123456, tzinfo=datetime.UTC)
KOLKATA = datetime.timezone(datetime.timedelta(hours=5, minutes=30))

LIKE_DJANGO = [
    # Texts
    mark_safe("<b>"),
    format_html("<b>{}</b>", "é"),
    Detail("wrong", "invalid"),
    gettext_lazy("Yes"),
    ngettext_lazy("%d day", "%d days", 2) % 2,
    lazystr("lazy"),
    Kind.NOTICE,
    Choice.YES,
    Choice.choices,
    http.HTTPMethod.GET,
    "\u2028 </script> \x00 \x7f 🎉",
    # Numbers
    Money(5),
    Money(2**70),
    Ratio(0.5),
    Level.HIGH,
    Share.HALF,
    Count.ONE,
    http.HTTPStatus.OK,
    Permission.READ | Permission.WRITE,
    2**53,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    1e300,
    1e-320,
    -0.0,
    0.1,
    True,
    None,
    # Containers
    QueryDict("a=1&a=2&b=3&empty="),
    MultiValueDict({"a": ["1", "2"], "none": []}),
    collections.OrderedDict(b=1, a=2),
    collections.defaultdict(list, a=[1]),
    collections.Counter("aab"),
    Renamed(a=1),
    Renamed({}),
    Doubled([1, 2]),
    Reversed((1, 2)),
    Kept(["a", "b"]),
    Kept(),
    Point(1, Point("a", None)),
    [Renamed(a=Doubled([Renamed(b=Detail("c"))]))],
    {"a": (1, 2), "b": []},
    {},
    [],
    # Keys
    {None: 1},
    {True: 1, False: 2},
    {1: "a", -2: "b", 2**70: "c"},
    {2.5: "b", 1e300: "c", 0.1: "d"},
    {float("inf"): 1, float("-inf"): 2, float("nan"): 3},
    {mark_safe("safe"): 1, Detail("detail"): 2},
    {Kind.NOTICE: 1, Level.HIGH: 2, Count.ONE: 3, Choice.YES: 4, Money(7): 5, Ratio(1.5): 6},
    {"": 0, "1": "text", "é": 1},
    Renamed({1: {None: mark_safe("x")}}),
    # Dates and the like
    MOMENT,
    MOMENT.replace(tzinfo=None),
    MOMENT.replace(microsecond=0),
    MOMENT.replace(microsecond=999),
    MOMENT.astimezone(KOLKATA),
    MOMENT.date(),
    MOMENT.time(),
    datetime.timedelta(days=1, seconds=2),
    datetime.timedelta(microseconds=5),
    -datetime.timedelta(hours=5),
    Decimal("1.10"),
    Decimal("1E+5"),
    Decimal("NaN"),
    uuid.UUID(int=7),
    [{"at": MOMENT, "price": Decimal("0.1"), "id": uuid.UUID(int=1)}],
]


@pytest.mark.parametrize("payload", LIKE_DJANGO, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: [it], lambda it: {"a": {"b": it}}])
def test_payload_is_written_as_by_django(payload, wrap):
    assert written(wrap(payload)) == by_django(wrap(payload))


def test_errors_of_a_form_are_written_as_by_django():
    assert written(errors()) == by_django(errors())
    assert written({"errors": errors()})["errors"] == {
        "name": ["This field is required."],
        "email": ["Enter a valid email address."],
        "__all__": ["<b>No.</b>"],
    }
    assert written(errors().get_json_data()) == by_django(errors().get_json_data())


def test_posted_form_is_written_with_the_last_value_of_each_field():
    assert written(QueryDict("a=1&a=2&b=")) == {"a": "2", "b": ""}


@pytest.mark.parametrize("depth", [200, 253, 254, 255, 300, 600])
@pytest.mark.parametrize("wrap", [lambda it: [it], lambda it: {"a": it}, lambda it: Kept([it])])
def test_deep_payload_is_written_as_by_django(depth, wrap):
    deep = "x"
    for _ in range(depth):
        deep = wrap(deep)
    assert written(deep) == by_django(deep)


# Values that JSON lacks and that are written all the same


@dataclasses.dataclass
class Record:
    name: str
    tags: list = dataclasses.field(default_factory=list)


class Frozen(msgspec.Struct, rename="camel", omit_defaults=True, tag="frozen"):
    first_name: str
    at: object = None
    more: object = None


class Row(msgspec.Struct, array_like=True):
    a: object
    b: object = None


class Suit(enum.Enum):
    HEARTS = "hearts"
    LAZY = gettext_lazy("Yes")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({1}, [1]),
        (frozenset([mark_safe("a")]), ["a"]),
        (Suit.HEARTS, "hearts"),
        (Suit.LAZY, "Yes"),
        ({Suit.HEARTS: 1}, {"hearts": 1}),
        (b"bytes", "Ynl0ZXM="),
        (bytearray(b"bytes"), "Ynl0ZXM="),
        (memoryview(b"bytes"), "Ynl0ZXM="),
        (memoryview(b"b.y.t.e.s.")[::2], "Ynl0ZXM="),
        (msgspec.Raw(b'{"a":[1]}'), {"a": [1]}),
        (orjson.Fragment('{"a":[1]}'), {"a": [1]}),
        ({1: orjson.Fragment("[2]")}, {"1": [2]}),
        ([float("nan"), float("inf")], [None, None]),
        ({1: float("nan")}, {"1": None}),
        (datetime.time(4, 5, 6, tzinfo=datetime.UTC), "04:05:06+00:00"),
        (Record("a"), {"name": "a", "tags": []}),
        (
            [Record(mark_safe("a"), [Renamed(b=Record("c"))])],
            [{"name": "a", "tags": [{"my b": {"name": "c", "tags": []}}]}],
        ),
        (Record("a", {None: 2**70}), {"name": "a", "tags": {"null": 2**70}}),
        (Frozen("a"), {"type": "frozen", "firstName": "a"}),
        (
            Frozen("a", at=MOMENT, more=Renamed(b=QueryDict("c=1&c=2"))),
            {
                "type": "frozen",
                "firstName": "a",
                "at": "2026-02-03T04:05:06.123Z",
                "more": {"my b": {"c": "2"}},
            },
        ),
        (Row(mark_safe("a"), Kept([1])), ["a", [1]]),
        ({uuid.UUID(int=1): 1}, {"00000000-0000-0000-0000-000000000001": 1}),
        ({gettext_lazy("Yes"): 1}, {"Yes": 1}),
        ({MOMENT.date(): 1, Decimal("1.10"): 2}, {"2026-02-03": 1, "1.10": 2}),
    ],
    ids=lambda each: type(each).__name__,
)
def test_further_values_are_written(payload, expected):
    assert written(payload) == expected
    assert written({"a": [payload]}) == {"a": [expected]}


# Values that are refused


def circle(make, close):
    found = make()
    close(found)
    return found


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (object(), "of the type object; pass what clients need of it"),
        (print, "of the type builtin_function_or_method"),
        (Record, "of the type type"),
        (1j, "of the type complex"),
        (errors, "of the type function"),
        (ValueError("x"), "of the type ValueError"),
        ((each for each in [1]), "of the type generator; pass list(value)"),
        (map(str, [1]), "of the type map; pass list(value)"),
        (range(3), "of the type range; pass list(value)"),
        (asyncio.Future(loop=Mock()), "of the type Future; await it; a decorator of an async"),
        (Model(), "of the type Model; pass value.model_dump(mode='json')"),
        (array.array("d", [1.5]), "of the type array; pass value.tolist()"),
        (collections.deque([1]), "of the type deque; pass list(value)"),
        ({}.keys(), "of the type dict_keys; pass list(value)"),
        ({}.values(), "of the type dict_values; pass list(value)"),
        (collections.UserDict(a=1), "of the type UserDict; pass dict(value)"),
        (collections.UserList([1]), "of the type UserList; pass list(value)"),
        (collections.ChainMap({}), "of the type ChainMap; pass dict(value)"),
        (types.MappingProxyType({}), "of the type mappingproxy; pass dict(value)"),
        (CaseInsensitiveMapping({}), "of the type CaseInsensitiveMapping; pass dict(value)"),
        (get_user_model()(), "of the type User; pass the fields that clients need"),
        (AnonymousUser(), "of the type AnonymousUser"),
        (ContentFile(b"x", "a.txt"), "of the type ContentFile; pass its name or its url"),
        (SimpleLazyObject(get_user_model()), "of the type SimpleLazyObject; pass the fields"),
        (get_user_model().objects.all(), "of the type QuerySet; pass list(queryset.values())"),
        (get_user_model().objects.values(), "of the type QuerySet; pass list(queryset.values())"),
        (get_user_model().objects, "of the type UserManager; pass list(queryset.values())"),
        ({(1, 2): 3}, "a tuple is no key; use texts, numbers, booleans or None"),
        ({frozenset(): 3}, "a list is no key"),
        ({object(): 3}, "of the type object"),
        ("\ud800", "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        (mark_safe("\udfff"), "surrogate"),
        (circle(list, lambda it: it.append(it)), "it holds itself, or is nested too deeply"),
        (circle(dict, lambda it: it.update(a=it)), "it holds itself, or is nested too deeply"),
        (circle(Doubled, lambda it: it.append([it])), "it holds itself"),
        (circle(Renamed, lambda it: it.update(a=it)), "it holds itself, or is nested too deeply"),
        (circle(Kept, lambda it: it.append(it)), "it holds itself, or is nested too deeply"),
        (circle(lambda: Record("a"), lambda it: it.tags.append(it)), "it holds itself"),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: {"a": [it]}])
def test_payload_that_django_refuses_is_refused_with_a_sentence(payload, sentence, wrap):
    with pytest.raises(PayloadError) as raised:
        encode(make_envelope("report", wrap(payload)))
    text = str(raised.value)
    assert text.startswith("The payload of 'report' cannot be written as JSON: ")
    assert text.endswith(
        ". Pass dicts, lists, texts, numbers, booleans, None, dates, Decimals and UUIDs."
    )
    assert sentence in text


def test_error_of_the_site_in_a_payload_is_raised_as_it_is():
    class Broken(dict):
        def items(self):
            raise LookupError("the database is away")

    with pytest.raises(LookupError, match="the database is away"):
        encode(make_envelope("x", {"a": Broken(b=1)}))


def keyed(values):
    keys = st.text() | st.integers() | st.floats() | st.booleans() | st.none()
    return st.dictionaries(keys, values, max_size=4)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.text().map(mark_safe) | st.decimals(allow_nan=False) | st.uuids()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC)) | st.timedeltas()
    | st.integers().map(Money) | st.sampled_from([Kind.NOTICE, Count.ONE]),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(Kept)
    | keyed(inner) | keyed(inner).map(Renamed) | st.tuples(inner, inner),
    max_leaves=12,
)  # fmt: skip


@given(payload=VALUES)
def test_any_payload_that_django_writes_is_written_alike(payload):
    # Of keys that become the same text, JSON.parse takes the last.
    assert written(payload) == by_django(payload)
