"""`manage.py realtime_schema`: the AsyncAPI document of the site."""

import argparse
import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from pm_realtime.contract import Heading, document, is_yaml_installed, to_yaml
from pm_realtime.management.generated import GeneratingCommand


class Command(GeneratingCommand):
    help = (
        "Writes an AsyncAPI 3.0 document of the messages of this site: its commands with their "
        "results, its pushes and its rooms, and those of the protocol."
    )
    example = "asyncapi.json"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--format",
            choices=["json", "yaml"],
            help="by default as the file's name ends, else json; yaml needs PyYAML",
        )
        parser.add_argument("--title", help="by default the name of the project's package")
        parser.add_argument(
            "--api-version",
            default="1.0.0",
            metavar="VERSION",
            help="the version of the site's messages (default: %(default)s)",
        )
        parser.add_argument(
            "--server",
            metavar="URL",
            help="the site's address, such as wss://example.com; by default its host is left open",
        )

    def generate(self, path: Path | None, options: dict[str, Any]) -> str:
        by_name = "yaml" if path and path.suffix.lower() in (".yaml", ".yml") else "json"
        is_yaml = (options["format"] or by_name) == "yaml"
        if is_yaml and not is_yaml_installed:
            raise CommandError(
                "YAML needs the package PyYAML. Install it with: "
                'pip install "pm-realtime[yaml]", or write JSON, with --format json.'
            )
        title = options["title"] or settings.ROOT_URLCONF.partition(".")[0]
        found = document(Heading(title, options["api_version"], options["server"]))
        if is_yaml:
            return to_yaml(found)
        return json.dumps(found, ensure_ascii=False, indent=2) + "\n"
