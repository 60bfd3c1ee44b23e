"""A new Django project with the code of a page of the documentation."""

import os
import subprocess
import sys

from tests.integration.server import Server

ASGI = """
import os
from pm_realtime.asgi import get_asgi_application
application = get_asgi_application()
"""


class Project(Server):
    """A server of the project in ``folder``."""

    @property
    def env(self):
        path = os.pathsep.join([str(self.folder), super().env["PYTHONPATH"]])
        return {**super().env, "DJANGO_SETTINGS_MODULE": "mysite.settings", "PYTHONPATH": path}


def make_project(folder, app, blocks, *, urls, tests, settings=""):
    """The project that ``django-admin`` and ``blocks`` make, with one ``app`` and its ``tests``.

    Each of ``blocks`` is an action (``file``, ``append``, or another one, which is left to the
    caller), the path of a file and its text. ``settings`` are added behind those of the page.
    """
    start = [sys.executable, "-m", "django", "startproject", "mysite", str(folder)]
    subprocess.run(start, check=True)
    (folder / app / "migrations").mkdir(parents=True)
    for name in app, f"{app}/migrations":
        (folder / name / "__init__.py").touch()
    for action, name, text in blocks:
        if action == "file":
            (folder / name).write_text(text)
        elif action == "append":
            with (folder / name).open("a") as file:
                file.write(f"\n\n{text}")
    with (folder / "mysite" / "settings.py").open("a") as file:
        file.write(settings)
    (folder / "mysite" / "asgi.py").write_text(ASGI)
    (folder / "mysite" / "urls.py").write_text(urls)
    (folder / app / "test_more.py").write_text(tests)
    made = Project("uvicorn", folder, application="mysite.asgi:application")
    made.manage("makemigrations", "--verbosity=0", app)
    return made
