"""The wheel of this tree, built from a copy of it."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build_wheel(folder: Path) -> Path:
    """Build the wheel in ``folder`` and return its path."""
    copy = folder / "tree"
    copy.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("pm_realtime", "example_project", "tests"):
        shutil.copytree(ROOT / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, copy]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built
