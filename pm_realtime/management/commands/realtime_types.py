"""`manage.py realtime_types`: the types of the site for the browser client."""

import argparse
from pathlib import Path
from typing import Any

from pm_realtime.contract import CLIENT_MODULE, declarations
from pm_realtime.management.generated import GeneratingCommand


class Command(GeneratingCommand):
    help = (
        "Writes TypeScript declarations of the commands, pushes and rooms of this site, with which "
        "the compiler checks calls and handlers of the browser client."
    )
    example = "realtime.d.ts"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--module",
            default=CLIENT_MODULE,
            help="the name under which the site imports the client (default: %(default)s)",
        )

    def generate(self, path: Path | None, options: dict[str, Any]) -> str:
        return declarations(options["module"])
