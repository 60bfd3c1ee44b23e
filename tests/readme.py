"""The README, taken apart: its commands, files, tables and pages."""

import re
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
_BLOCK = re.compile(r"<!-- (?P<what>[^\n]+) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)


def blocks() -> dict[str, list[str]]:
    """The code blocks by the comment in front of them, such as ``file: mysite/asgi.py``."""
    found: dict[str, list[str]] = {}
    for match in _BLOCK.finditer(README.read_text()):
        found.setdefault(match["what"], []).append(match["text"])
    return found


def block(what: str) -> str:
    (text,) = blocks()[what]
    return text


def table(heading: str) -> list[list[str]]:
    """The rows of the first table in a section, each cell without its backticks."""
    section = README.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = []
    for line in section.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]
