"""TypeScript of JSON Schemas, formatted as prettier would."""

import pytest

from pm_realtime.contract.typescript import comment, declaration, field, literal

TEXT = {"type": "string"}
WORDS = {"enum": ["a" * 20, "b" * 20, "c" * 20, "d" * 20]}
PARTS = "".join(f'\n    | "{letter * 20}"' for letter in "abcd")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, "unknown"),
        ({"type": "integer"}, "number"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"anyOf": [TEXT, {"anyOf": [TEXT, {"type": "null"}]}]}, "string | null"),
        ({"type": "array", "items": {"enum": [1, "a", None]}}, '(1 | "a" | null)[]'),
        (
            {"type": "array", "items": [TEXT, TEXT], "minItems": 1},
            "[string, string?, ...unknown[]]",
        ),
        ({"type": "array", "items": {"type": "array", "maxItems": 0}}, "[][]"),
        ({"type": "object"}, "{ [key: string]: unknown }"),
        (
            {"type": "object", "propertyNames": {"enum": ["a"]}, "additionalProperties": TEXT},
            '{ [key in "a"]?: string }',
        ),
        (
            {"type": "object", "properties": {"a": TEXT, "b c": TEXT}, "required": ["a"]},
            '{ a: string; "b c"?: string }',
        ),
        (
            {"properties": {"a": TEXT}, "required": ["a"], "additionalProperties": TEXT},
            "{ a: string } & { [key: string]: string }",
        ),
        ({"allOf": [{"$ref": "#/components/schemas/A"}], "description": ""}, "A"),
        ({"allOf": [{"anyOf": [TEXT, {"type": "null"}]}, TEXT]}, "(string | null) & string"),
        (WORDS, PARTS),
        ({"type": "array", "items": WORDS}, f"({PARTS}\n  )[]"),
    ],
)
def test_type_of_a_field(schema, expected):
    separator = "" if expected.startswith("\n") else " "
    assert field("a", schema) == f"  a:{separator}{expected};\n"


def test_long_type_is_an_object_on_lines():
    schema = {"type": "object", "additionalProperties": WORDS}
    parts = PARTS.replace("\n", "\n  ")
    assert field("a", schema) == f"  a: {{\n    [key: string]:{parts};\n  }};\n"


def test_class_without_fields_is_an_empty_interface():
    schema = {"type": "object", "properties": {}}
    assert declaration("A", schema) == "export interface A {}\n"


def test_other_types_are_aliases():
    assert declaration("A", {"enum": [1, 2]}) == "export type A = 1 | 2;\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", '"a"'),
        ("it's", '"it\'s"'),
        ('a "b"', "'a \"b\"'"),
        ('"it\'s"', "'\"it\\'s\"'"),
        ("a\nb\\", '"a\\nb\\\\"'),
        ("é", '"é"'),
        (1, "1"),
        (None, "null"),
    ],
)
def test_literal_has_the_quotes_that_need_the_fewest_escapes(value, expected):
    assert literal(value) == expected


def test_comment_cannot_be_ended_by_its_text():
    assert comment(["One */ two"]) == "/** One *\\/ two */\n"
    assert comment(["One", "", "@default 1"], "  ") == "  /**\n   * One\n   * @default 1\n   */\n"
    assert comment(["", ""]) == ""
