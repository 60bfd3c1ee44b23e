"""The README agrees with the code."""

import ast
import re

import pm_realtime
from pm_realtime.conf import OPTION_NAMES, Conf
from pm_realtime.protocol import CloseCode, ErrorCode
from tests.support import readme


def test_settings_table_has_each_setting_with_its_default():
    documented = {key: ast.literal_eval(default) for key, default, _ in readme.table("Settings")}
    assert documented == {name: setting.default for name, setting in Conf.settings().items()}


def test_table_of_rooms_has_each_option():
    assert [row[0] for row in readme.table("Rooms and roles")] == list(OPTION_NAMES)


def test_every_sync_helper_is_documented():
    text = readme.README.read_text()
    names = {name for name in pm_realtime.__all__ if name[0] not in ("a", "_") and name.islower()}
    assert [name for name in names if f"`{name}(" not in text] == []


def test_every_error_code_and_close_code_is_explained():
    text = readme.README.read_text()
    assert [code for code in ErrorCode if f"`{code}`" not in text] == []
    assert [code for code in CloseCode if f"{int(code)} (" not in text] == []


def test_sections_are_in_order():
    assert re.findall(r"^## (.+)$", readme.README.read_text(), re.MULTILINE) == [
        "Two commands",
        "Mount it in your site",
        "Push from a view",
        "Commands of your own",
        "Rooms and roles",
        "Settings",
        "The browser client",
        "Many processes",
        "How it compares",
        "Troubleshooting",
        "License",
    ]
