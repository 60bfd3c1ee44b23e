"""The files of the shop, which are the same on every version of Python, Django and msgspec."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command

FOLDER = Path(__file__).parent
FILES = {
    "shop.d.ts": ["realtime_types"],
    "shop.json": ["realtime_schema", "--title", "Shop"],
}

pytestmark = pytest.mark.usefixtures("shop_site")


@pytest.mark.parametrize("name", FILES)
def test_file_is_up_to_date(name):
    """After a change on purpose, run the command of ``FILES`` without ``--check`` in this test."""
    call_command(*FILES[name], str(FOLDER / name), "--check")


@pytest.fixture
def document():
    return json.loads((FOLDER / "shop.json").read_text())
