"""The tables of docs/client.md agree with the client and the server."""

import json
import re

from pm_realtime.protocol import CloseCode, ErrorCode, may_reconnect
from tests.support.node import ROOT, node, run

PAGE = ROOT / "docs" / "client.md"
TEXT = PAGE.read_text()
CLIENT = ROOT / "pm_realtime/static/pm_realtime/client.js"


def rows(heading):
    section = TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def evaluate(script):
    done = run(node(), "--input-type=module", "--eval", script)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def test_error_table_has_every_code():
    local = evaluate(
        f'const {{ LocalErrorCode }} = await import("{CLIENT.as_uri()}");'
        "console.log(JSON.stringify(Object.values(LocalErrorCode)));"
    )
    named = [code for row in rows("Errors") for code in re.findall(r"`(\w+)`", row[0])]
    # TIMEOUT comes from both.
    assert sorted(named) == sorted({*ErrorCode, *local})


def test_close_code_table_has_every_code_and_says_if_the_client_reconnects():
    assert [(row[0], row[1], row[3]) for row in rows("Close codes")] == [
        (str(int(code)), f"`{code.name}`", "yes" if may_reconnect(code) else "no")
        for code in CloseCode
    ]


def test_method_table_has_every_member_of_a_client():
    members = evaluate(
        f'const {{ createRealtime }} = await import("{CLIENT.as_uri()}");'
        "console.log(JSON.stringify(Object.keys(createRealtime())));"
    )
    section = TEXT.split("## Options, methods and events", 1)[1].split("\n### ", 1)[0]
    assert [name for name in members if not re.search(rf"`{name}\b", section)] == []


def test_default_options_are_those_of_the_declarations():
    declared = (CLIENT.parent / "client.d.ts").read_text()
    options = declared.split("export interface RealtimeOptions {", 1)[1].split("\n}", 1)[0]
    found = re.findall(r"Default: ([^*\s]+)\. \*/\s+(\w+)\?", options)
    shown = re.search(r"`createRealtime\(\{(.+)\}\)`", TEXT)[1]
    defaults = {name: value for value, name in found if value in {"true", "false", "5", "1000"}}
    assert len(defaults) == 6
    assert dict(re.findall(r"(\w+): (\w+)", shown)) == defaults
