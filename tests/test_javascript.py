"""The browser client: its own tests, run by Node, its size, and that it agrees with the server."""

import gzip
import json
import re
from pathlib import Path

import pytest

import pm_realtime
from pm_realtime.protocol import envelope
from tests.node import ROOT, node, run

TESTS = sorted(ROOT.glob("tests/js/*.test.js"))
CLIENT = Path(pm_realtime.__file__).parent / "static/pm_realtime"
CODES = range(1000, 5000)

#: Bytes, of all modules without those for Vue and for shared tabs, as one gzip of level 9.
BUDGET = 8000
#: Loaded only by who asks for them.
OPTIONAL = re.compile(r"(vue|shared).*\.js")


@pytest.fixture(scope="module")
def constants():
    """What constants.js exports, and whether it comes back after each close code."""
    script = f"""
        const {{ mayReconnect, ...exported }} =
            await import({json.dumps((CLIENT / "constants.js").as_uri())});
        const codes = Array.from({{ length: {len(CODES)} }}, (_, index) => index + {CODES.start});
        console.log(JSON.stringify({{ ...exported, mayReconnect: codes.map(mayReconnect) }}));
    """
    done = run(node(), "--input-type=module", "--eval", script)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def test_the_tests_of_the_client_pass():
    assert len(TESTS) >= 13
    done = run(node(), "--test", "--test-reporter=tap", *TESTS, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    counts = dict(re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE))
    assert int(counts["pass"]) == int(counts["tests"]) > len(TESTS), done.stdout


def test_all_modules_together_stay_within_their_size():
    modules = [path for path in sorted(CLIENT.glob("*.js")) if not OPTIONAL.fullmatch(path.name)]
    assert {CLIENT / "client.js", CLIENT / "auto.js"} <= set(modules)
    together = gzip.compress(b"".join(path.read_bytes() for path in modules), 9)
    assert len(together) < BUDGET


def test_its_message_types_are_those_of_the_protocol(constants):
    assert constants["MessageType"] == dict(envelope.MessageType.__members__)


def test_its_error_codes_are_those_of_the_protocol(constants):
    assert constants["ErrorCode"] == dict(envelope.ErrorCode.__members__)


def test_it_asks_again_after_the_errors_that_the_protocol_calls_temporary(constants):
    assert constants["TEMPORARY_ERRORS"] == [code for code in envelope.ErrorCode if code.retry]


def test_its_close_codes_are_those_of_the_protocol(constants):
    ours = {name: int(code) for name, code in envelope.CloseCode.__members__.items()}
    assert constants["CloseCode"] == ours


def test_it_comes_back_after_the_closes_that_the_protocol_names(constants):
    assert dict(zip(CODES, constants["mayReconnect"], strict=True)) == {
        code: envelope.may_reconnect(code) for code in CODES
    }
