"""Whether this process is a `runserver` that cannot take WebSockets, and the two lines for it."""

import sys

from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.core.management.commands.runserver import Command as DjangoRunserver


def is_wsgi_runserver() -> bool:
    """Whether `manage.py runserver` of this process speaks WSGI, as Django's own does."""
    name = sys.argv[1:2]
    if name == ["runserver_plus"]:  # Of django-extensions; Werkzeug serves it.
        return True
    if name != ["runserver"]:
        return False
    found = get_commands()["runserver"]
    command = found if isinstance(found, BaseCommand) else load_command_class(found, "runserver")
    # daphne's has one of its own, which falls back to Django's for the option --noasgi.
    runs = getattr(type(command), "inner_run", None)
    return runs is DjangoRunserver.inner_run or "--noasgi" in sys.argv


def daphne_lines() -> str:
    """The lines for the settings of the site, as a sentence."""
    project = str(getattr(settings, "ROOT_URLCONF", "")).rpartition(".")[0] or "mysite"
    return (
        'Put "daphne" on top of INSTALLED_APPS and set ASGI_APPLICATION = '
        f'"{project}.asgi.application"'
    )
