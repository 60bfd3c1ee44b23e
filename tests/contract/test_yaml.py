"""The YAML of a document has the values of its JSON."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pm_realtime.contract import to_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, width=32) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
#: Which YAML would take for something else without quotes.
HARD_TEXTS = (
    "| |a b|yes|Null|1|1e5|0x1F|12:30|2026-01-01|- a|a: b|a #b|@a|`a`|{a}|%|~|=|<<|.inf|a,b|é|_1"
)


@given(VALUES)
def test_any_value_is_read_as_json_has_it(value):
    plain = json.loads(json.dumps(value))
    text = to_yaml(plain)
    assert text.endswith("\n")
    assert yaml.safe_load(text) == plain


@pytest.mark.parametrize("text", [*HARD_TEXTS.split("|"), "\u2028", "\x7f", "|", "a\nb"])
def test_text_stays_a_text(text):
    assert yaml.safe_load(to_yaml({text: [text, {"a": text}]})) == {text: [text, {"a": text}]}


@pytest.mark.parametrize("text", ["1e5", "-1E5", "0o17", ".5", "1.", "+1", "a\u2028b", "a\nb\x85c"])
def test_text_is_one_in_yaml_1_2_too(text):
    """Of which PyYAML reads 1.1: so it must be in quotes, without the breaks of that."""
    written = to_yaml([text])
    assert written[2] in "'\""
    assert not set("\u2028\x85") & set(written)


def test_document_is_indented_and_keeps_its_order():
    value = {"b": {"b c": [1, {"d": None, "e": []}], "f": {}}, "a": "two words", "h": "#/x"}
    assert to_yaml(value) == (
        "b:\n  b c:\n    - 1\n    - d: null\n      e: []\n  f: {}\na: two words\nh: '#/x'\n"
    )


def test_text_of_several_lines_is_a_block_and_a_long_line_stays_one():
    line = "word " * 40 + "end."
    assert to_yaml({"a": f"One.\n\n{line}"}) == f"a: |-\n  One.\n\n  {line}\n"
    assert to_yaml({"a": line}) == f"a: {line}\n"


def test_equal_parts_are_written_out():
    part = {"a": [1]}
    assert to_yaml([part, part]) == "- a:\n    - 1\n- a:\n    - 1\n"
