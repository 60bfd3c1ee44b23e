"""Run the tests with tox, on the combinations of Python and Django that setup.cfg names.

Without an option: on the lowest one, with linters, servers, load and browsers. ``--others``: on all
others, what may differ between versions, and in further environments of tox if some are named, four
at a time, as much of their time is waiting. ``--missing`` prints the Pythons that are not on this
machine.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = (ROOT / "setup.cfg").read_text()
PYTHONS = re.findall(r":: Python :: (3\.\d+)$", SUPPORTED, re.MULTILINE)
DJANGOS = re.findall(r":: Django :: (\d+\.\d+)$", SUPPORTED, re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    options = parser.add_mutually_exclusive_group()
    options.add_argument("--others", nargs="*", metavar="ENVIRONMENT")
    options.add_argument("--missing", action="store_true")
    chosen = parser.parse_args()
    found = {version: find_python(version) for version in PYTHONS}
    if chosen.missing:
        print(*(version for version, path in found.items() if path is None))
        return 0
    first, *others = environments()
    run = ["run", "-e", first]
    if chosen.others is not None:
        # The highest versions first, as most tests run there.
        others.sort(key=lambda name: name.partition("-")[::-1], reverse=True)
        run = ["run-parallel", "-p", "4", "-e", ",".join([others[0], *chosen.others, *others[1:]])]
    # uv, which makes the environments, looks for Pythons there.
    folders = [str(path.parent) for path in found.values() if path is not None]
    path = os.pathsep.join([os.environ["PATH"], *folders])
    command = [sys.executable, "-m", "tox", *run, "--skip-missing-interpreters", "false"]
    return subprocess.call(command, cwd=ROOT, env={**os.environ, **certificates(), "PATH": path})


def certificates() -> dict[str, str]:
    """Have uv trust the certificates of this machine, which may be behind a proxy of its own."""
    return {"UV_SYSTEM_CERTS": "1"} if any(Path("/etc/ssl/certs").glob("*")) else {}


def environments() -> list[str]:
    """The names of the tox environments, lowest versions first."""
    return [
        f"py{python}-django{django}".replace(".", "")
        for python, django in product(PYTHONS, DJANGOS)
        if (python, django) == ("3.11", "5.2") or python != "3.11"  # Django 6.0 needs 3.12.
    ]


def find_python(version: str) -> Path | None:
    """A Python of this version that starts: one on the path, of pyenv, or of uv."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    candidates = [
        *filter(None, [shutil.which(name)]),
        *pyenv.glob(f"{version}.*/bin/{name}"),
        *uv.glob(f"cpython-{version}.*/bin/{name}"),
    ]
    # A shim of pyenv does not start if another version is chosen.
    return next((Path(each) for each in candidates if starts(each)), None)


def starts(python: str | Path) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
