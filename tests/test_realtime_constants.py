"""`manage.py realtime_constants`: the browser client's constants are the server's."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from pm_realtime.management.commands.realtime_constants import final_closes
from pm_realtime.protocol import envelope

NAMES = {"constants.js", "constants.d.ts"}


def run(*arguments):
    out = StringIO()
    call_command("realtime_constants", *arguments, stdout=out)
    return out.getvalue()


def test_the_files_in_the_package_are_up_to_date():
    assert run("--check") == "Up to date.\n"


def test_what_is_stale_or_missing_is_named_and_nothing_is_written(tmp_path):
    with pytest.raises(CommandError, match=r"constants\.js, constants\.d\.ts .*realtime_constants"):
        run("--check", "--folder", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_it_writes_only_what_is_stale(tmp_path):
    assert run("--folder", str(tmp_path)) == "Written: constants.js, constants.d.ts.\n"
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    assert run("--folder", str(tmp_path)) == "Up to date.\n"
    (tmp_path / "constants.js").write_text("edited by hand")
    with pytest.raises(CommandError, match=r"envelope.py has it: constants\.js in"):
        run("--check", "--folder", str(tmp_path))
    assert run("--folder", str(tmp_path)) == "Written: constants.js.\n"


def test_the_ranges_of_final_closes_are_those_of_the_rule():
    final = {code for first, last in final_closes() for code in range(first, last + 1)}
    assert final == {code for code in range(1000, 5000) if not envelope.may_reconnect(code)}
    assert len(final_closes()) < 6


def test_a_change_of_the_protocol_makes_them_stale(monkeypatch):
    monkeypatch.setattr(
        "pm_realtime.management.commands.realtime_constants.may_reconnect", lambda code: True
    )
    with pytest.raises(CommandError, match="Not as protocol"):
        run("--check")
