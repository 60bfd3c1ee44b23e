"""Run tox for each environment whose Python is on this machine, and say which are not.

The first, which drives servers under load, runs alone; the others then run three at a time,
as much of their time is waiting.
"""

import shutil
import subprocess
import sys

TOX = [sys.executable, "-m", "tox"]


def main() -> int:
    listed = subprocess.run(
        [*TOX, "list", "--no-desc", "-q"], capture_output=True, text=True, check=True
    ).stdout.split()
    by_version = [name for name in listed if name.startswith("py")]
    present = [name for name in by_version if has_python(name)]
    absent = [name for name in by_version if name not in present]
    print(f"Running {', '.join(present)}. No Python here for: {', '.join(absent) or 'none'}.")
    first, others = present[0], present[1:]
    failed = subprocess.call([*TOX, "run", "-e", first])
    if others:
        failed |= subprocess.call([*TOX, "run-parallel", "-p", "3", "-e", ",".join(others)])
    return failed


def has_python(environment: str) -> bool:
    """Whether the Python of ``py312-django60`` is there and starts (a shim may not)."""
    version = environment.partition("-")[0]
    found = shutil.which(f"python{version[2]}.{version[3:]}")
    return found is not None and subprocess.run([found, "-c", ""], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
