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
    if not _has_infinity(plain):
        assert yaml.safe_load(text) == plain


def _has_infinity(value):
    return "Infinity" in json.dumps(value)


@pytest.mark.parametrize("text", [*HARD_TEXTS.split("|"), "\u2028", "\x7f", "|", "a\nb"])
def test_text_stays_a_text(text):
    assert yaml.safe_load(to_yaml({text: [text, {"a": text}]})) == {text: [text, {"a": text}]}


def test_document_is_indented():
    value = {"a": {"b c": [1, {"d": None, "e": []}], "f": {}}, "g": "two words", "h": "#/x"}
    assert to_yaml(value) == (
        'a:\n  b c:\n    - 1\n    - d: null\n      e: []\n  f: {}\ng: two words\nh: "#/x"\n'
    )
