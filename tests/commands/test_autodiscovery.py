"""Modules named ``realtime`` of a site's apps are imported as those named ``admin`` are."""

import os
import subprocess
import sys

SETTINGS = """
SECRET_KEY = "only for tests"
INSTALLED_APPS = ["pm_realtime", "shop", "empty", "django.contrib.contenttypes"]
"""
MODELS = """
from django.db import models
class Auction(models.Model):
    pass
"""
REALTIME = """
from pm_realtime import Command, command, push_type
from shop.models import Auction

@command("auction.bid", room="auction:<int:pk>")
def bid(request: Command, pk: int) -> None: ...

push_type("auction.price", int)
"""
SCRIPT = """
import django
django.setup()
from pm_realtime.commands import DECLARATIONS
from pm_realtime.schemas import PUSH_TYPES
print(*(each.declared_in for each in [*DECLARATIONS.values(), *PUSH_TYPES.values()]))
"""


def run(folder):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop_settings",
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        },
    )


def test_modules_of_installed_apps_are_found(tmp_path):
    for app in ("shop", "empty"):
        (tmp_path / app).mkdir()
        (tmp_path / app / "__init__.py").touch()
    (tmp_path / "shop_settings.py").write_text(SETTINGS)
    (tmp_path / "shop" / "models.py").write_text(MODELS)
    (tmp_path / "shop" / "realtime.py").write_text(REALTIME)
    done = run(tmp_path)
    assert done.stdout.split() == ["shop.realtime.bid", "shop.realtime"], done.stderr
    (tmp_path / "shop" / "realtime.py").write_text("import no_such_module")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in run(tmp_path).stderr
