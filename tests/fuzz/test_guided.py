"""libFuzzer, guided by what the inputs reach, finds nothing."""

import os
import subprocess
import sys

import pytest


def fuzz(target, folder, *options, seconds=100):
    """What libFuzzer says of a run that must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, f"-artifact_prefix={folder}/", *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-10_000:]
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("target", "runs"), [("decode", 10_000), ("receive", 1_500)])
def test_a_short_run_finds_nothing(target, runs, tmp_path):
    assert f"Done {runs} runs" in fuzz(target, tmp_path, f"-runs={runs}", "-seed=2026")


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("target", "seconds"), [("decode", 20), ("receive", 40)])
def test_another_run_each_time_finds_nothing(target, seconds, tmp_path):
    found = fuzz(target, tmp_path, f"-max_total_time={seconds}", seconds=200)
    assert " runs in " in found
