"""Types of TypeScript, on one line, or as prettier breaks them if they are too long for one."""

from abc import ABC, abstractmethod
from typing import Final

LINE_LENGTH: Final = 80
INDENT: Final = "  "


class Shape(ABC):
    """A type that can be written."""

    @abstractmethod
    def flat(self) -> str:
        """The type on one line."""

    @abstractmethod
    def broken(self, indent: str) -> str:
        """The type on several lines, of which all but the first begin with ``indent``."""

    def written(self, indent: str, used: int) -> str:
        """The type behind ``used`` characters of a line, and before one more."""
        line = self.flat()
        return line if used + len(line) < LINE_LENGTH else self.broken(indent)

    def grouped(self) -> str:
        """The type on one line, so that more can follow directly."""
        return self.flat()


class Name(Shape):
    """A type that is one word, or a literal."""

    def __init__(self, text: str) -> None:
        self.text = text

    def flat(self) -> str:
        return self.text

    def broken(self, indent: str) -> str:
        return self.text


class OneOf(Shape):
    """A union, or with ``&`` an intersection, of two members or more."""

    def __init__(self, members: list[Shape], sign: str = "|") -> None:
        self.members = members
        self.sign = sign

    def flat(self) -> str:
        parts = [
            each.grouped() if isinstance(each, OneOf) else each.flat() for each in self.members
        ]
        return f" {self.sign} ".join(parts)

    def broken(self, indent: str) -> str:
        inner = indent + INDENT
        parts = [each.written(inner + INDENT, len(inner) + 2) for each in self.members]
        return "".join(f"\n{inner}{self.sign} {part}" for part in parts)

    def grouped(self) -> str:
        return f"({self.flat()})"


class Array(Shape):
    def __init__(self, item: Shape) -> None:
        self.item = item

    def flat(self) -> str:
        return f"{self.item.grouped()}[]"

    def broken(self, indent: str) -> str:
        broken = self.item.broken(indent)
        return f"({broken}\n{indent})[]" if isinstance(self.item, OneOf) else f"{broken}[]"


class Record(Shape):
    """An object: its fields, each with its name before it."""

    def __init__(self, fields: list[tuple[str, Shape]]) -> None:
        self.fields = fields

    def flat(self) -> str:
        return f"{{ {'; '.join(f'{head} {each.flat()}' for head, each in self.fields)} }}"

    def broken(self, indent: str) -> str:
        inner = indent + INDENT
        lines = [f"{inner}{member(head, each, inner)}\n" for head, each in self.fields]
        return f"{{\n{''.join(lines)}{indent}}}"


class Tuple(Shape):
    """A tuple. ``marks`` are those before and behind each of its places."""

    def __init__(self, places: list[Shape], marks: list[tuple[str, str]]) -> None:
        self.places = places
        self.marks = marks

    def flat(self) -> str:
        return f"[{', '.join(self._parts())}]"

    def broken(self, indent: str) -> str:
        lines = "".join(f"\n{indent}{INDENT}{part}," for part in self._parts())
        return f"[{lines}\n{indent}]"

    def _parts(self) -> list[str]:
        return [
            f"{before}{each.grouped() if before or behind else each.flat()}{behind}"
            for each, (before, behind) in zip(self.places, self.marks, strict=True)
        ]


def member(head: str, shape: Shape, indent: str) -> str:
    """``head`` and the type behind it, as a field of an object or as a statement."""
    text = shape.written(indent, len(indent) + len(head) + 1)
    return f"{head}{text};" if text.startswith("\n") else f"{head} {text};"
