"""The drawing in docs/architecture.md agrees with the contracts of import-linter."""

import re
import tomllib
from pathlib import Path

import pm_realtime

ROOT = Path(__file__).parents[1]
PACKAGE = Path(pm_realtime.__file__).parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
CONTRACTS = SETTINGS["importlinter"]["contracts"]


def layers():
    """Return the names in the layers contract, the highest first."""
    (contract,) = [each for each in CONTRACTS if each["type"] == "layers"]
    return [name for row in contract["layers"] for name in row.split(" | ")]


def test_drawing_has_the_packages_in_the_order_of_the_contract():
    (chain,) = re.findall(r"^    site --> (.*) --> base$", PAGE, re.MULTILINE)
    packages = chain.split(" --> ")
    assert [name for name in layers() if name in packages] == packages
    (site,) = re.findall(r'^    site\["site files<br>(.*)"\]$', PAGE, re.MULTILINE)
    (base,) = re.findall(r'^    base\["(.*)"\]$', PAGE, re.MULTILINE)
    assert set(layers()) == {*packages, *site.split(" · "), *base.split(" · ")}
    assert set(re.findall(r"^    (\w+)\[", PAGE, re.MULTILINE)) == {"site", *packages, "base"}


def test_contract_has_all_packages_and_modules():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert set(layers()) == packages | modules


def test_modules_of_each_package_are_protected():
    protected = {
        name
        for each in CONTRACTS
        if each["type"] == "protected"
        for name in each["protected_modules"]
    }
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    # Django finds the modules of these two by their names.
    packages -= {"management", "templatetags"}
    assert {f"pm_realtime.{name}.*" for name in packages} <= protected
