"""The browser client: its own tests, run by Node, and that it says what the server says."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import playwright
import pytest

import pm_realtime
from pm_realtime import protocol

ROOT = Path(__file__).parents[1]
TESTS = sorted(ROOT.glob("tests/js/*.test.js"))
CONSTANTS = Path(pm_realtime.__file__).parent / "static/pm_realtime/constants.js"
OLDEST_NODE = 20
CODES = range(1000, 5000)

#: What a browser itself or a server's own software closes with; the rest is the protocol's.
STANDARD_CLOSE_CODES = {
    "NORMAL": 1000,
    "GOING_AWAY": 1001,
    "ABNORMAL": 1006,
    "SERVICE_RESTART": 1012,
    "TRY_AGAIN_LATER": 1013,
}


def run(*command, timeout=100, **options):
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


def version_of(node):
    found = re.match(r"v(\d+)\.", run(node, "--version").stdout)
    return int(found[1]) if found else 0


@pytest.fixture(scope="module")
def node():
    """Node from the PATH where it is new enough, else the one that Playwright brings along."""
    own = Path(playwright.__file__).parent / "driver" / "node"
    for candidate in shutil.which("node"), shutil.which(own):
        if candidate and version_of(candidate) >= OLDEST_NODE:
            return candidate
    raise AssertionError(
        f"The tests of the browser client need Node {OLDEST_NODE} or newer, and there is none on "
        f"the PATH nor at {own}. `python -m pip install playwright` brings one along."
    )


@pytest.fixture(scope="module")
def constants(node):
    """What constants.js exports, and whether it comes back after each close code."""
    script = f"""
        const {{ mayReconnect, ...exported }} = await import({json.dumps(CONSTANTS.as_uri())});
        const codes = Array.from({{ length: {len(CODES)} }}, (_, index) => index + {CODES.start});
        console.log(JSON.stringify({{ ...exported, mayReconnect: codes.map(mayReconnect) }}));
    """
    done = run(node, "--input-type=module", "--eval", script)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def test_the_tests_of_the_client_pass(node):
    assert len(TESTS) >= 7
    done = run(node, "--test", "--test-reporter=tap", *map(str, TESTS), cwd=ROOT)
    assert done.returncode == 0, done.stdout
    counts = dict(re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE))
    assert int(counts["pass"]) == int(counts["tests"]) > len(TESTS), done.stdout


def test_its_message_types_are_those_of_the_protocol(constants):
    assert constants["MessageType"] == dict(protocol.MessageType.__members__)


def test_its_error_codes_are_those_of_the_protocol(constants):
    assert constants["ErrorCode"] == dict(protocol.ErrorCode.__members__)
    assert constants["LocalErrorCode"].keys().isdisjoint(constants["ErrorCode"])


def test_it_asks_again_after_the_errors_that_the_protocol_calls_temporary(constants):
    assert sorted(constants["TEMPORARY_ERRORS"]) == sorted(
        code for code in protocol.ErrorCode if code.retry
    )


def test_its_close_codes_are_those_of_the_protocol(constants):
    ours = {name: int(code) for name, code in protocol.CloseCode.__members__.items()}
    assert constants["CloseCode"] == STANDARD_CLOSE_CODES | ours


def test_it_comes_back_after_the_closes_that_the_protocol_names(constants):
    assert dict(zip(CODES, constants["mayReconnect"], strict=True)) == {
        code: protocol.may_reconnect(code) for code in CODES
    }
