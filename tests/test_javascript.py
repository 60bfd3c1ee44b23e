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
COMMONJS = SOURCES / "commonjs"
BUILT = Path(pm_realtime.__file__).parent / "static/pm_realtime"
ENTRIES = ("auto", "client", "shared", "vue")
CODES = range(1000, 5000)

#: The size of client.js, gzipped: the file of a page without Vue and shared tabs.
MAX_CLIENT_BYTES = 12_150

#: Names beside ECMAScript that are newer than the lowest browsers of the documentation.
LATER_WEB_APIS = {
    "structuredClone", "randomUUID", "scheduler", "navigation", "requestIdleCallback",
    "canParse", "timeout", "throwIfAborted", "getSetCookie", "checkVisibility", "showPopover",
    "CompressionStream", "URLPattern", "TaskController", "CloseWatcher", "EventSourceInit",
    "postTask", "startViewTransition", "replaceChildren", "cookieStore", "Iterator", "Temporal",
}  # fmt: skip


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
    modules = {f"{name}.js{end}" for name in ENTRIES for end in ("", ".map")}
    assert set(built) == modules | {path.name for path in COMMONJS.iterdir()}
    stale = [
        name
        for name, content in built.items()
        if ((BUILT if name in modules else COMMONJS) / name).read_bytes() != content
    ]
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


def test_build_is_for_the_lowest_browsers_of_the_documentation():
    """esbuild rewrites or refuses syntax that these lack."""
    target = re.search(r"LOWEST_VERSIONS = (\[.+\]);", (SOURCES / "build.mjs").read_text())
    page = (ROOT / "docs/client.md").read_text()
    (lowest,) = re.findall(r"^\| the client \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    names = ("chrome", "firefox", "safari")
    assert json.loads(target[1]) == [name + v for name, v in zip(names, lowest, strict=True)]


def members_since(library, first, last):
    """The names that TypeScript's libraries of these years of ECMAScript declare."""
    found = set()
    for path in library.glob("lib.es*.d.ts"):
        year = re.match(r"lib\.es(\d+|next)", path.name)[1]
        number = {"5": 2009, "6": 2015, "next": 9999}.get(year) or int(year)
        if first <= number <= last:
            text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
            found |= set(re.findall(r"^ +(?:readonly )?(\w+)\??[(<:]", text, re.MULTILINE))
            found |= set(re.findall(r"^(?:declare var|interface) (\w+)", text, re.MULTILINE))
    return found


@pytest.mark.parametrize("name", ENTRIES)
def test_built_file_uses_nothing_that_the_lowest_browsers_lack(name, node_modules):
    library = node_modules / "typescript" / "lib"
    later = members_since(library, 2021, 9999) - members_since(library, 2009, 2020)
    assert {"hasOwn", "at", "findLast", "WeakRef", "withResolvers"} <= later
    text = (BUILT / f"{name}.js").read_text()
    used = set(re.findall(r"\.(\w+)\(", text)) | set(re.findall(r"new (\w+)", text))
    # Shorter ones are the minifier's.
    used |= set(re.findall(r"(?<![\w.])(\w{3,})\(", text))
    used |= {name for name in re.findall(r"(?<![\w.])(\w+)\.", text) if name in LATER_WEB_APIS}
    own = set(re.findall(r"[,{](\w+)\([^()]*\)\{", text))
    assert (used - own) & (later | LATER_WEB_APIS) == set()


@pytest.mark.parametrize("name", ENTRIES)
def test_built_file_has_no_optional_call_that_old_versions_of_chrome_get_wrong(name):
    """Up to 90 they fail if an argument follows a spread one: crbug.com/42201552."""
    wrong = re.compile(r"\?\.[\w$.\[\]]*\((?:[^()]*,)?\.\.\.[^(),]*,")
    assert wrong.search("a?.b(c,...d,e)")
    assert not wrong.search((BUILT / f"{name}.js").read_text())


def test_only_shared_tabs_need_locks_and_channels():
    assert not re.search(r"BroadcastChannel|navigator\.locks", (BUILT / "client.js").read_text())


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
