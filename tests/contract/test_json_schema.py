"""The JSON Schemas of the types that a site declares."""

import datetime
import sys
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from types import ModuleType
from typing import Annotated, Any, List, Literal, Optional, TypeVar, Union  # noqa: UP035

import msgspec
import pydantic
import pytest

from pm_realtime.contract.json_schema import Form
from pm_realtime.contract.types import Wanted, json_schemas
from tests.contract import auctions, shop

T = TypeVar("T")


def schema_of(annotation, form=Form.INPUT):
    found = json_schemas([Wanted(annotation, form)])
    return found.schemas[0]


def component_of(annotation, form=Form.INPUT):
    """The only component of the schema of a class."""
    ((_, found),) = json_schemas([Wanted(annotation, form)]).components.items()
    return found


def names_of(*wanted):
    return list(json_schemas([Wanted(*each) for each in wanted]).components)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Any, {}),
        (None, {"type": "null"}),
        (bool, {"type": "boolean"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (Decimal, {"type": "string", "format": "decimal"}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (datetime.timedelta, {"type": "string", "format": "duration"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["b", "a"], {"enum": ["a", "b"]}),
        (
            tuple[int, str],
            {
                "type": "array",
                "items": [{"type": "integer"}, {"type": "string"}],
                "additionalItems": False,
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            Annotated[str, msgspec.Meta(min_length=1, pattern="^a", description="A word.")],
            {"type": "string", "pattern": "^a", "minLength": 1, "description": "A word."},
        ),
        (
            Annotated[Decimal, msgspec.Meta(gt=0, description="Euros.")],
            {
                "type": "string",
                "format": "decimal",
                "exclusiveMinimum": 0,
                "description": "Euros.",
            },
        ),
    ],
)
def test_type_has_its_schema(annotation, expected):
    assert schema_of(annotation) == expected


def test_members_of_a_union_have_one_order():
    """As `typing` may give back a union that was written before with the same members."""
    expected = {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}
    assert schema_of(Union[None, str, int]) == expected  # noqa: UP007
    assert schema_of(int | str | None) == expected
    assert schema_of(List[Optional[int]])["items"]["anyOf"][1] == {"type": "null"}  # noqa: UP006, UP045


class Options(msgspec.Struct, rename="camel", tag="options", forbid_unknown_fields=True):
    """How it is done."""

    by_hand: bool
    at_most: int = 5
    names: list[str] = []
    later: str | msgspec.UnsetType = msgspec.UNSET


def test_struct_of_a_client_may_leave_out_what_has_a_default():
    assert component_of(Options) == {
        "type": "object",
        "properties": {
            "type": {"const": "options"},
            "byHand": {"type": "boolean"},
            "atMost": {"type": "integer", "default": 5},
            "names": {"type": "array", "items": {"type": "string"}, "default": []},
            "later": {"type": "string"},
        },
        "required": ["type", "byHand"],
        "additionalProperties": False,
        "description": "How it is done.",
    }


def test_struct_of_the_server_has_what_has_a_default():
    required = component_of(Options, Form.OUTPUT)["required"]
    assert required == ["type", "byHand", "atMost", "names"]


class Short(msgspec.Struct, omit_defaults=True):
    pk: int
    note: str = ""


def test_struct_may_leave_out_defaults_for_clients_too():
    assert component_of(Short, Form.OUTPUT)["required"] == ["pk"]


def test_dataclass_has_no_docstring_of_pythons():
    @dataclass
    class Pair:
        one: int
        two: dict[str, int] = field(default_factory=dict)

    assert component_of(Pair) == {
        "type": "object",
        "properties": {
            "one": {"type": "integer"},
            "two": {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "default": {},
            },
        },
        "required": ["one"],
    }


def test_type_with_two_forms_has_two_names():
    assert names_of((shop.Receipt, Form.OUTPUT)) == ["Receipt"]
    assert names_of((shop.Receipt, Form.INPUT)) == ["Receipt"]
    both = names_of((shop.Receipt, Form.OUTPUT), (shop.Receipt, Form.INPUT))
    assert both == ["Receipt", "ReceiptInput"]


def test_type_with_one_form_has_one_name():
    names = names_of((shop.Bid, Form.OUTPUT), (shop.Bid, Form.INPUT))
    assert names == ["Bid"]


def test_type_has_two_forms_if_one_that_it_refers_to_has():
    class Holder(msgspec.Struct):
        held: list[shop.Receipt]

    names = names_of((Holder, Form.OUTPUT), (Holder, Form.INPUT))
    assert names == ["Holder", "HolderInput", "Receipt", "ReceiptInput"]


def test_recursive_type_refers_to_itself():
    found = json_schemas([Wanted(shop.Node, Form.INPUT), Wanted(shop.Node, Form.OUTPUT)])
    for name in ("Node", "NodeInput"):
        items = found.components[name]["properties"]["subNodes"]["items"]
        assert items == {"$ref": f"#/components/schemas/{name}"}


def test_two_types_of_one_name_have_their_modules_in_it():
    found = json_schemas([Wanted(shop.Bid, Form.INPUT), Wanted(auctions.Bid, Form.INPUT)])
    assert list(found.components) == ["tests_contract_auctions_Bid", "tests_contract_shop_Bid"]
    references = [schema["$ref"].rpartition("/")[2] for schema in found.schemas]
    assert references == ["tests_contract_shop_Bid", "tests_contract_auctions_Bid"]
    assert "amount" in found.components["tests_contract_shop_Bid"]["properties"]


def test_two_types_of_one_path_have_numbers():
    def make(kind):
        class Local(msgspec.Struct):
            value: kind

        return Local

    found = json_schemas([Wanted(make(int), Form.INPUT), Wanted(make(str), Form.INPUT)])
    kinds = [each["properties"]["value"]["type"] for each in found.components.values()]
    assert sorted(kinds) == ["integer", "string"]


def test_model_of_pydantic_and_struct_of_one_name_are_not_merged():
    class Bid(pydantic.BaseModel):
        sum: int

    found = json_schemas([Wanted(shop.Bid, Form.INPUT), Wanted(Bid, Form.INPUT)])
    parts = [set(each["properties"]) for each in found.components.values()]
    assert len(parts) == 2
    assert {"sum"} in parts
    assert {"amount"} in parts


def test_generic_has_the_names_of_its_arguments():
    names = names_of((shop.Page[shop.Bid], Form.INPUT), (shop.Page[int | None], Form.INPUT))
    assert names == ["Bid", "Page_Bid", "Page_int_or_NoneType"]


def test_generic_of_a_bounded_decimal_is_one_type():
    prices = shop.Page[Annotated[Decimal, msgspec.Meta(gt=0)]]
    again = shop.Page[Annotated[Decimal, msgspec.Meta(gt=0)]]
    found = json_schemas([Wanted(prices, Form.INPUT), Wanted(list[again], Form.INPUT)])
    assert list(found.components) == ["Page_Decimal"]
    items = found.components["Page_Decimal"]["properties"]["items"]["items"]
    assert items == {"type": "string", "format": "decimal", "exclusiveMinimum": 0}


def test_name_that_typescript_has_gets_its_module():
    module = ModuleType("words")
    exec("import msgspec\nclass unknown(msgspec.Struct):\n    a: int", module.__dict__)
    module.unknown.__module__ = "words"
    assert names_of((module.unknown, Form.INPUT)) == ["words_unknown"]


def test_model_of_pydantic_has_its_aliases():
    found = json_schemas([Wanted(list[shop.Address], Form.OUTPUT)])
    assert found.schemas[0]["items"] == {"$ref": "#/components/schemas/Address"}
    address = found.components["Address"]
    assert address["required"] == ["streetName", "lines", "parent"]
    assert address["properties"]["streetName"] == {"type": "string", "minLength": 1}


def test_model_may_stand_beside_types_of_msgspec():
    found = json_schemas([Wanted(shop.Parcel, Form.INPUT)])
    content = found.components["Parcel"]["properties"]["content"]["anyOf"]
    references = {each.get("$ref", "").rpartition("/")[2] for each in content}
    assert references == {"", "Address", "Cat"}
    assert {"type": "string"} in content
    assert {"type": "null"} in content


def test_tuple_of_pydantic_is_in_the_words_of_draft_7():
    class Pair(pydantic.BaseModel):
        places: tuple[int, str]

    places = component_of(Pair)["properties"]["places"]
    assert places["items"] == [{"type": "integer"}, {"type": "string"}]
    assert places["additionalItems"] is False
    assert "prefixItems" not in places


def test_default_that_json_cannot_write_is_left_out():
    class Odd(msgspec.Struct):
        number: float = float("inf")
        when: datetime.date = datetime.date(2026, 1, 2)

    properties = component_of(Odd)["properties"]
    assert properties["number"] == {"type": "number"}
    assert properties["when"]["default"] == "2026-01-02"


def test_type_that_cannot_be_read_raises():
    with pytest.raises(TypeError):
        schema_of(complex)


def test_pydantic_is_not_asked_for_types_of_msgspec(monkeypatch):
    monkeypatch.delitem(sys.modules, "pydantic.json_schema")
    assert component_of(shop.Bid)["type"] == "object"
