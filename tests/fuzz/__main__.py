"""``python -m tests.fuzz decode|receive [libFuzzer's options and folders]``: see README.md."""

import os
import sys
import tempfile
from pathlib import Path

import atheris
import django

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    name, *arguments = sys.argv[1:]
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    with atheris.instrument_imports(include=["pm_realtime"]):
        django.setup()
        from tests.fuzz.targets import TARGETS
    with TARGETS[name]() as target, tempfile.TemporaryDirectory() as fresh:
        # What is found new goes into the first folder.
        paths = (
            []
            if any(Path(each).exists() for each in arguments)
            else [fresh, str(FOLDER / "corpus")]
        )
        atheris.Setup(
            [sys.argv[0], f"-dict={FOLDER / 'frames.dict'}", "-max_len=8192", *arguments, *paths],
            target,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
