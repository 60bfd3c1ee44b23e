"""``python -m tests.fuzz decode|receive [OPTIONS OF LIBFUZZER]``; see README.md."""

import os
import sys
import tempfile
from pathlib import Path

import atheris
import django

FOLDER = Path(__file__).resolve().parent
DEFAULTS = [f"-dict={FOLDER / 'frames.dict'}", "-max_len=6000"]


def main() -> None:
    name, *arguments = sys.argv[1:]
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    with atheris.instrument_imports(include=["pm_realtime"]):
        django.setup()
        from tests.fuzz.targets import TARGETS  # After Django's setup.
    # libFuzzer runs this command in a shell to start itself, and writes new inputs to the first
    # folder.
    program = f"{sys.executable} -m {__package__} {name}"
    with TARGETS[name]() as target, tempfile.TemporaryDirectory() as fresh:
        has_paths = any(Path(argument).exists() for argument in arguments)
        paths = [] if has_paths else [fresh, str(FOLDER / "corpus")]
        atheris.Setup([program, *DEFAULTS, *arguments, *paths], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
