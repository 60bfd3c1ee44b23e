"""``python -m benchmarks.sites.people N`` makes the database, with N users who are logged in.

It prints a JSON list of their ``Cookie`` headers, the user numbered 1 first.
"""

import json
import os
import sys
from importlib import import_module

import django
from django.conf import settings
from django.core.management import call_command


def make(count: int) -> list[str]:
    """The cookies of ``count`` fresh users; Django is set up, the database empty."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.db import transaction

    call_command("migrate", verbosity=0)
    session_class = import_module(settings.SESSION_ENGINE).SessionStore
    names = [f"user-{number}" for number in range(1, count + 1)]
    people = [User(pk=pk, username=name, password="!") for pk, name in enumerate(names, 1)]
    User.objects.bulk_create(people)
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
