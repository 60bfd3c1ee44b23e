"""The browser client: its tests, its built files, its size, and its copy of server constants."""

import gzip
import json
import os
import re
import runpy
from pathlib import Path

import pytest

import pm_realtime
from pm_realtime import protocol
from tests.support.node import ROOT, node, run

TESTS = sorted(ROOT.glob("tests/js/*.test.js"))
SOURCES = ROOT / "pm_realtime/browser"
BUILT = Path(pm_realtime.__file__).parent / "static/pm_realtime"
ENTRIES = ("auto", "client", "shared", "vue")
CODES = range(1000, 5000)

#: The size of client.js, gzipped: the file of a page without Vue and shared tabs.
MAX_CLIENT_BYTES = 9000


@pytest.fixture(scope="module")
def generator():
    """The names in constants.py, which is not part of the installed package."""
    return runpy.run_path(str(SOURCES / "constants.py"))


@pytest.fixture(scope="module")
def constants():
    """The exports of constants.js, with the results of ``mayReconnect`` for all close codes."""
    script = f"""
        const {{ mayReconnect, ...exported }} =
            await import({json.dumps((SOURCES / "constants.js").as_uri())});
        const codes = Array.from({{ length: {len(CODES)} }}, (_, index) => index + {CODES.start});
        console.log(JSON.stringify({{ ...exported, mayReconnect: codes.map(mayReconnect) }}));
    """
    done = run(node(), "--input-type=module", "--eval", script)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def test_javascript_tests_pass():
    assert len(TESTS) >= 13
    done = run(node(), "--test", "--test-reporter=tap", *TESTS, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    counts = dict(re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE))
    assert int(counts["pass"]) == int(counts["tests"]) > len(TESTS), done.stdout


def test_built_files_are_up_to_date(node_modules, tmp_path):
    environment = {**os.environ, "PM_REALTIME_NODE_MODULES": str(node_modules)}
    done = run(node(), SOURCES / "build.mjs", f"--outdir={tmp_path}", env=environment)
    assert done.returncode == 0, done.stdout
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(built) == {f"{name}.js{end}" for name in ENTRIES for end in ("", ".map")}
    stale = [name for name, content in built.items() if (BUILT / name).read_bytes() != content]
    assert stale == [], "Run `npm run build`."


def test_static_files_are_the_built_ones_and_the_declarations():
    declared = {path.name for path in BUILT.glob("*.d.ts")}
    assert declared == {"auto.d.ts", "client.d.ts", "constants.d.ts", "vue.d.ts"}
    others = {path.name for path in BUILT.iterdir()} - declared
    assert others == {f"{name}.js{end}" for name in ENTRIES for end in ("", ".map")}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("client", {'import("./shared.js")'}),
        ("shared", set()),
        ("auto", {'from"./client.js"'}),
        ("vue", {'from"vue"', 'from"./client.js"'}),
    ],
)
def test_built_file_imports_nothing_but_the_client(name, expected):
    """With circular imports, Django could not give the files hashed names."""
    text = (BUILT / f"{name}.js").read_text()
    assert set(re.findall(r'(?:from|import\b)\s*\(?"[^"]+"\)?', text)) == expected


@pytest.mark.parametrize("name", ENTRIES)
def test_source_map_has_its_sources(name):
    text = (BUILT / f"{name}.js").read_text()
    assert text.endswith(f"\n//# sourceMappingURL={name}.js.map\n")
    found = json.loads((BUILT / f"{name}.js.map").read_text())
    assert f"../../browser/{name}.js" in found["sources"]
    for source, content in zip(found["sources"], found["sourcesContent"], strict=True):
        assert (ROOT / "pm_realtime/static/pm_realtime" / source).read_text() == content


def test_client_stays_within_its_size():
    assert len(gzip.compress((BUILT / "client.js").read_bytes(), 9)) < MAX_CLIENT_BYTES


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.js")), ids=lambda path: path.name)
def test_source_has_at_most_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


def test_constants_are_up_to_date(generator):
    files = generator["files"]()
    assert [path.name for path in files] == ["constants.js", "constants.d.ts"]
    stale = [path.name for path, text in files.items() if path.read_text() != text]
    assert stale == [], "Run `npm run build`."


def test_final_closes_are_those_of_the_protocol(generator):
    runs = generator["final_closes"]()
    final = {code for first, last in runs for code in range(first, last + 1)}
    assert final == {code for code in CODES if not protocol.may_reconnect(code)}
    assert len(runs) < 6


def test_message_types_are_those_of_the_protocol(constants):
    assert constants["MessageType"] == dict(protocol.MessageType.__members__)


def test_error_codes_are_those_of_the_protocol(constants):
    assert constants["ErrorCode"] == dict(protocol.ErrorCode.__members__)


def test_temporary_errors_are_those_of_the_protocol(constants):
    assert constants["TEMPORARY_ERRORS"] == [code for code in protocol.ErrorCode if code.retry]


def test_close_codes_are_those_of_the_protocol(constants):
    ours = {name: int(code) for name, code in protocol.CloseCode.__members__.items()}
    assert constants["CloseCode"] == ours


def test_client_reconnects_after_the_closes_that_the_protocol_names(constants):
    assert dict(zip(CODES, constants["mayReconnect"], strict=True)) == {
        code: protocol.may_reconnect(code) for code in CODES
    }
