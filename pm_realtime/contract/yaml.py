"""YAML of values of JSON, by PyYAML, which is optional."""

import json
import re
from typing import Any, Final

try:
    import yaml
except ImportError:
    is_yaml_installed = False
else:
    is_yaml_installed = True

#: Numbers of YAML 1.2, of which PyYAML, which writes 1.1, does not know all.
_NUMBER: Final = re.compile(
    r"(?:[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:e[-+]?\d+)?|0o[0-7]+)$", re.I | re.A
)
_DIGITS_AND_SIGNS: Final = list("-+.0123456789")
#: Breaks of lines in YAML 1.1 alone.
_OTHER_BREAKS: Final = re.compile("[\x85\u2028\u2029]")


def to_yaml(value: Any) -> str:
    """The YAML document of ``value``, for readers of YAML 1.1 and 1.2. Needs PyYAML."""

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True  # Equal parts are written out, as in JSON.

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)  # Also for the items of a list.

    # A text that looks like a number gets quotes.
    Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, _DIGITS_AND_SIGNS)
    Dumper.add_representer(str, _represent_text)
    plain = json.loads(json.dumps(value))  # Of subclasses, such as enums, PyYAML knows none.
    # No line is broken, so that a difference shows what was changed.
    return yaml.dump(plain, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=float("inf"))


def _represent_text(dumper: "yaml.SafeDumper", text: str) -> "yaml.ScalarNode":
    style = '"' if _OTHER_BREAKS.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)
