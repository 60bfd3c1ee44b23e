"""YAML of values of JSON. Its texts are those of JSON, unless they need no quotes."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

#: Texts that are plain scalars in every version of YAML.
_PLAIN: Final = re.compile(r"[A-Za-z_/][\w/.$-]*(?: [\w/.$(-][\w/.$(),-]*)*", re.ASCII)
#: Of which YAML 1.1 makes other values.
_WORDS: Final = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


def to_yaml(value: Any) -> str:
    """The YAML document of ``value``, with a newline at its end."""
    return "\n".join(_lines(value, "")) + "\n"


def _lines(value: Any, indent: str) -> Iterator[str]:
    if not value or not isinstance(value, dict | list):
        yield indent + _scalar(value)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", each, indent + "  ")
    else:
        for each in value:
            first, *others = _lines(each, indent + "  ")
            yield f"{indent}- {first.lstrip(' ')}"
            yield from others


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if value and isinstance(value, dict | list):
        yield head
        yield from _lines(value, indent)
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    text = json.dumps(value, ensure_ascii=False)
    # JSON leaves these in texts, and YAML takes them for breaks of a line, or refuses them.
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", _escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
