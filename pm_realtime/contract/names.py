"""The names of types in generated files, where no two may have the same."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin

K = TypeVar("K", bound=Hashable)

#: Names that a type cannot have in TypeScript, though a class can in Python.
_OF_TYPESCRIPT: Final = frozenset(
    (
        *("any", "bigint", "boolean", "never", "null", "number", "object", "string", "symbol"),
        *("undefined", "unknown", "void", "case", "catch", "const", "debugger", "default"),
        *("delete", "do", "enum", "export", "extends", "false", "function", "implements"),
        *("instanceof", "interface", "let", "new", "package", "private", "protected", "public"),
        *("static", "super", "switch", "this", "throw", "true", "typeof", "var"),
    )
)


class TypeName(NamedTuple):
    """The name of a type, and the one with its module, which is used if two have the same."""

    plain: str
    qualified: str


def name_of(type: Any) -> TypeName:
    """The name of a class or of a generic with its arguments: ``Page[Item]`` is ``Page_Item``."""
    origin = get_origin(type) or type
    arguments = "".join(f"_{_describe(each)}" for each in get_args(type))
    module = origin.__module__
    whole = f"{module}.{origin.__qualname__}".replace("<locals>.", "")
    return TypeName(identifier(origin.__name__ + arguments), identifier(whole + arguments))


def identifier(text: str) -> str:
    """``text`` as an identifier of ASCII letters, digits and underscores."""
    found = re.sub(r"\W", "_", text, flags=re.ASCII)
    return f"_{found}" if found[:1].isdigit() or not found else found


def unique_names(wanted: Mapping[K, TypeName], reserved: Iterable[str] = ()) -> dict[K, str]:
    """A name for each key: its plain one, else the qualified one, else that with a number."""
    counts = Counter(name.plain for name in wanted.values())
    taken = {*reserved, *_OF_TYPESCRIPT}
    names = {
        key: name.plain
        for key, name in wanted.items()
        if counts[name.plain] == 1 and name.plain not in taken
    }
    taken.update(names.values())
    for key, name in wanted.items():
        if key not in names:
            names[key] = _numbered(name.qualified, taken)
            taken.add(names[key])
    return names


def _numbered(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _describe(type: Any) -> str:
    """An argument of a generic, alike on every version of Python."""
    origin, arguments = get_origin(type), [_describe(each) for each in get_args(type)]
    if origin is Annotated:
        return arguments[0]
    if origin in (Union, UnionType):
        return "_or_".join(arguments)
    own = getattr(origin or type, "__name__", None) or str(type)
    return "_".join([own, *arguments])
