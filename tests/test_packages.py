"""The npm package in what sites test and render with: Jest, vitest, Vite, Next.js, ``ws``."""

import os
import re
import shutil

import pytest

from tests.support.node import ROOT, add_packed_client, installed_packages, node, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PACKAGES = {
    "@babel/plugin-transform-modules-commonjs": "8.1.2",
    "jest": "30.5.2",
    "next": "16.4.6",
    "react": "19.3.1",
    "react-dom": "19.3.1",
    "vite": "8.4.0",
    "vitest": "5.1.2",
    "ws": "8.23.0",
}
QUIET = {"NEXT_TELEMETRY_DISABLED": "1", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def site():
    """A folder with the files of tests/packages, these packages and the packed client."""
    with installed_packages(PACKAGES) as modules:
        folder = modules.parent
        shutil.copytree(ROOT / "tests/packages", folder, dirs_exist_ok=True)
        add_packed_client(folder)
        yield folder


def ran(site, program, *arguments, folder="."):
    """Run a program of Node in the site; return its output."""
    environment = {**os.environ, **QUIET}
    done = run(node(), site / program, *arguments, cwd=site / folder, env=environment)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_jest_runs_with_require_and_with_import(site):
    output = ran(site, "node_modules/jest/bin/jest.js", "--ci", "--rootDir", site)
    assert re.search(r"^Tests: +3 passed, 3 total$", output, re.MULTILINE), output


def test_vitest_runs(site):
    output = ran(site, "node_modules/vitest/vitest.mjs", "run")
    assert re.search(r"Tests +1 passed \(1\)", output), output


def test_vite_renders_on_the_server_and_builds(site):
    """In development, as a build beside the packages, and as a build that includes them."""
    assert ran(site, "vite/ssr.mjs").split() == ["<p>stopped</p>"] * 3 + ["built"]


def test_next_renders_on_the_server(site):
    ran(site, "node_modules/next/dist/bin/next", "build", folder="next")
    page = (site / "next/.next/server/app/index.html").read_text()
    assert "<p>connected: false, stopped</p>" in page


def test_process_with_the_package_ws_survives_its_errors(site):
    assert ran(site, "ws.mjs").splitlines() == ["refused: 1006", "alive"]
