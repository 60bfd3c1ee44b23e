"""Finds or installs a Chromium for the tests, or fails with instructions."""

import os
import shutil
import subprocess
import sys

PROGRAM_NAMES = (
    "/usr/bin/chromium",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
INSTALL_TIMEOUT_SECONDS = 300
MAX_OUTPUT_CHARACTERS = 2000


def chromium_path(own: str) -> str:
    """Return the path of a Chromium; ``own`` is the path of Playwright's."""
    found = find_chromium(own)
    if found is None:
        attempts = obtain_chromium(own)
        found = find_chromium(own)
        assert found, (
            "The browser tests need a Chromium, and none was found. Install one with "
            "`python -m playwright install --with-deps chromium` or, on Debian, "
            "`apt-get install chromium`. These attempts failed:\n" + "\n".join(attempts)
        )
    return found


def find_chromium(own: str) -> str | None:
    return next(filter(None, map(shutil.which, (own, *PROGRAM_NAMES))), None)


def obtain_chromium(own: str) -> list[str]:
    """Try to install a Chromium; return the commands with the end of their output."""
    is_root = os.geteuid() == 0
    commands = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if is_root:
        commands[0].insert(-1, "--with-deps")
        if shutil.which("apt-get"):
            commands.append(["apt-get", "update", "-q"])
            commands.append(
                ["apt-get", "install", "-qy", "--no-install-recommends", "chromium"],
            )
    attempts = []
    for command in commands:
        attempts.append(f"$ {' '.join(command)}\n{run(command)}")
        if find_chromium(own):
            break
    return attempts


def run(command: list[str]) -> str:
    """Run ``command`` without a terminal; return the end of its output."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_TIMEOUT_SECONDS,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout[-MAX_OUTPUT_CHARACTERS:]
