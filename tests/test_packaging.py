"""The files in the wheel, which is built from a copy of this tree, and in the npm package."""

import configparser
import email
import json
import os
import re
import zipfile
from pathlib import Path

import pytest

import pm_realtime
from tests.support.node import npm, run
from tests.support.wheel import build_wheel

ROOT = Path(__file__).resolve().parent.parent
STATIC = "pm_realtime/static"
COMMONJS = "pm_realtime/browser/commonjs"
#: The public modules of the client with their names in the npm package.
EXPORTS = {
    "pm_realtime/client": ".",
    "pm_realtime/vue": "./vue",
    "pm_realtime_testing/testing": "./testing",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel"))) as opened:
        yield opened


def test_wheel_has_the_package_without_the_sources_of_the_client(wheel):
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = ROOT / "pm_realtime"
    written = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        if package / "browser" not in path.parents
    }
    assert packed == written
    assert "pm_realtime/py.typed" in packed
    assert {f"{STATIC}/pm_realtime/client.js", f"{STATIC}/pm_realtime/client.js.map"} <= packed
    assert "pm_realtime/backends/redis/lua/common.lua" in packed


def test_wheel_has_the_required_python_and_the_extras(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
    assert metadata["Name"] == "pm-realtime"
    assert metadata["Requires-Python"] == ">=3.11"
    extras = {"redis", "uvicorn", "yaml", "demo", "test", "bench", "dev"}
    assert set(metadata.get_all("Provides-Extra")) == extras
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {re.split(r"[<>=]", line)[0].lower() for line in needed} == {
        "django",
        "asgiref",
        "channels",
        "daphne",
        "idna",
        "msgspec",
        "orjson",
    }


def test_lowest_declared_versions_are_those_that_are_tested():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    optional = [extras[name] for name in ("redis", "uvicorn", "yaml")]
    declared = "".join([config["options"]["install_requires"], *optional])
    tested = (ROOT / "tests/lowest.txt").read_text()
    assert sorted(re.findall(r"^(\S+)>=(\S+)$", declared, re.MULTILINE)) == sorted(
        re.findall(r"^(\S+)==(\S+)$", tested, re.MULTILINE)
    )


@pytest.fixture(scope="module")
def npm_package():
    return json.loads((ROOT / "package.json").read_text())


def test_npm_packs_only_the_built_files(npm_package):
    # Without the settings of this machine, about which npm may print warnings.
    environment = {**os.environ, "NPM_CONFIG_USERCONFIG": os.devnull}
    command = [*npm(), "pack", "--dry-run", "--json", "--loglevel=warn", "--no-update-notifier"]
    done = run(*command, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout
    (packed,) = json.loads(done.stdout)  # A warning would be printed before the JSON.
    files = {file["path"] for file in packed["files"]}
    written = [*(ROOT / STATIC).rglob("*"), *(ROOT / COMMONJS).iterdir()]
    client = {str(path.relative_to(ROOT)) for path in written if path.is_file()}
    assert files == client | {"package.json", "README.md", "LICENSE"}
    assert (packed["name"], packed["version"]) == ("@pm-realtime/client", pm_realtime.__version__)
    assert not npm_package.get("private")


def test_npm_exports_each_public_module_with_its_types(npm_package):
    modules = {
        file: {"types": f"./{STATIC}/{name}.d.ts", "default": f"./{STATIC}/{name}.js"}
        for name, file in EXPORTS.items()
    }
    required = {
        file: {
            "types": f"./{COMMONJS}/{Path(name).name}.d.cts",
            "default": f"./{COMMONJS}/{Path(name).name}.cjs",
        }
        for name, file in EXPORTS.items()
    }
    exports = {file: {"require": required[file], **modules[file]} for file in modules}
    assert npm_package["exports"] == {**exports, "./package.json": "./package.json"}
    assert npm_package["main"] == required["."]["default"]
    for targets in [*modules.values(), *required.values()]:
        assert all((ROOT / target).exists() for target in targets.values())
    assert npm_package["sideEffects"] is False
