"""Each defence in docs/security.md has a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "security.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_defence_has_tests_that_exist(row):
    threat, defence, tests = row
    assert threat
    assert defence
    found = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
    assert found
    for path, name in found:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), name


def test_page_has_threats_and_is_linked():
    assert len(ROWS) >= 20
    assert "docs/security.md" in (ROOT / "SECURITY.md").read_text()
    assert "docs/security.md" in (ROOT / "README.md").read_text()
