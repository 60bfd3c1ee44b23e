"""The commands, files, tables and pages in the README."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
_BLOCK = re.compile(r"<!-- (?P<name>[^\n]+) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)


def blocks() -> dict[str, list[str]]:
    """Return the code blocks by the comment before them, such as ``file: mysite/asgi.py``."""
    found: dict[str, list[str]] = {}
    for match in _BLOCK.finditer(README.read_text()):
        found.setdefault(match["name"], []).append(match["text"])
    return found


def block(name: str) -> str:
    """Return the only code block with that comment."""
    (text,) = blocks()[name]
    return text


def table(heading: str) -> list[list[str]]:
    """Return the rows of a section's first table and of those with the same head.

    Cells have no backticks.
    """
    section = README.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    tables = [_rows(found) for found in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)]
    return [row for head, _, *rows in tables if head == tables[0][0] for row in rows]


def _rows(table: str) -> list[list[str]]:
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in table.splitlines()
    ]
