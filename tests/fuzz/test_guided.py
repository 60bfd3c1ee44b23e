"""libFuzzer, guided by coverage, finds no fault."""

import os
import subprocess
import sys

import pytest


def fuzz(target, folder, *options, timeout=100):
    """Run libFuzzer, which must succeed, and return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, f"-artifact_prefix={folder}/", *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-10_000:]
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("target", "runs"), [("decode", 10_000), ("receive", 1_500)])
def test_short_run_finds_no_fault(target, runs, tmp_path):
    assert f"Done {runs} runs" in fuzz(target, tmp_path, f"-runs={runs}", "-seed=2026")


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("target", "seconds"), [("decode", 10), ("receive", 20)])
def test_run_with_a_random_seed_finds_no_fault(target, seconds, tmp_path):
    output = fuzz(target, tmp_path, f"-max_total_time={seconds}", timeout=200)
    assert " runs in " in output
