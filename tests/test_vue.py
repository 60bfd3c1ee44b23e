"""The composable for Vue: its tests in components, on a server and in the documentation."""

import os
import re

from tests.support.node import ROOT, node, run

TESTS = sorted(ROOT.glob("tests/js/vue/*.test.js"))


def test_vue_tests_pass(node_modules):
    assert len(TESTS) >= 3
    environment = {**os.environ, "PM_REALTIME_NODE_MODULES": str(node_modules)}
    done = run(node(), "--test", "--test-reporter=tap", *TESTS, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout
    counts = dict(re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE))
    assert int(counts["pass"]) == int(counts["tests"]) > len(TESTS), done.stdout
