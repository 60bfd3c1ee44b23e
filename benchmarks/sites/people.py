"""``python -m benchmarks.sites.people N`` creates the database, with N logged-in users.

It prints a JSON list of their ``Cookie`` headers, that of user 1 first.
"""

import json
import os
import sys
from importlib import import_module

import django
from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.core.management import call_command
from django.db import transaction


def make(count: int) -> list[str]:
    """Create ``count`` users in an empty database, and return their cookies.

    Django must be set up.
    """
    user_class = get_user_model()
    call_command("migrate", verbosity=0)
    session_class = import_module(settings.SESSION_ENGINE).SessionStore
    names = [f"user-{number}" for number in range(1, count + 1)]
    people = [user_class(pk=pk, username=name, password="!") for pk, name in enumerate(names, 1)]
    user_class.objects.bulk_create(people)
    cookies = []
    with transaction.atomic():
        for user in people:
            session = session_class()
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            session.create()
            cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
    return cookies


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.common"
    django.setup()
    print(json.dumps(make(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
