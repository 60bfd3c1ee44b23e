"""The base of the management commands that write a file from the declarations of a site."""

import argparse
import difflib
from itertools import islice
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

#: Lines of a difference that ``--check`` shows, and of text around each part of it.
MAX_DIFF_LINES: Final = 40
CONTEXT_LINES: Final = 2


class GeneratingCommand(BaseCommand):
    """Writes the text of :meth:`generate` to the output or a file, or compares it with a file."""

    # Of faulty declarations, the checks tell each mistake.
    requires_system_checks = ["pm_realtime"]
    #: The name of a file in examples.
    example: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        name = self.example
        parser.add_argument("path", nargs="?", metavar="FILE", help=f"the file, such as {name}")
        parser.add_argument("--output", metavar="FILE", help="the same; without a file: stdout")
        parser.add_argument(
            "--check",
            action="store_true",
            help="write nothing; fail with the difference if FILE is not up to date (for CI)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["path"] and options["output"]:
            raise CommandError("Expected one file, got two: name it with --output or without.")
        named = options["output"] or options["path"]
        if options["check"] and not named:
            raise CommandError(f"Expected a file to check, such as --check {self.example}.")
        path = Path(named) if named else None
        try:
            text = self.generate(path, options)
        except (ImportError, ImproperlyConfigured, TypeError) as error:
            raise CommandError(f"{error} (`manage.py check` may say more.)") from error
        if path is None:
            self.stdout.write(text)
        elif options["check"]:
            self._check(path, text)
        else:
            self._write(path, text)

    def generate(self, path: Path | None, options: dict[str, Any]) -> str:
        """The text for ``path``; None is the standard output."""
        raise NotImplementedError

    def _write(self, path: Path, text: str) -> None:
        if _read(path) == text:
            self.stdout.write(f"{path} is up to date.")
            return
        try:
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"Wrote {path}.")

    def _check(self, path: Path, text: str) -> None:
        found = _read(path)
        if found == text:
            self.stdout.write(f"{path} is up to date.")
            return
        advice = f"Write it with the same command without --check, and commit {path.name}."
        if found is None:
            raise CommandError(f"{path} cannot be read, or there is no such file. {advice}")
        lines = difflib.unified_diff(
            found.splitlines(),
            text.splitlines(),
            f"{path} (found)",
            f"{path} (expected)",
            lineterm="",
            n=CONTEXT_LINES,
        )
        shown = list(islice(lines, MAX_DIFF_LINES))
        more = [f"… ({count} more lines)"] if (count := sum(1 for _ in lines)) else []
        # The difference is empty if only the newline at the end is missing.
        difference = "\n".join(["", *shown, *more])
        raise CommandError(f"{path} is not up to date. {advice}{difference}")


def _read(path: Path) -> str | None:
    """The text of ``path`` with plain newlines; None if there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
