import json

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand

from pm_realtime.testing import session_cookie


class Command(BaseCommand):
    """Log in a user for each role named and print their cookies as JSON."""

    def add_arguments(self, parser):
        parser.add_argument("roles", nargs="*")

    def handle(self, roles, **options):
        cookies = {}
        for role in roles:
            user, _ = get_user_model().objects.get_or_create(
                username=role, is_superuser=role == "master"
            )
            if role in ("editor", "admin"):
                user.groups.add(Group.objects.get_or_create(name=role)[0])
            cookies[role] = async_to_sync(session_cookie)(user).decode()
        self.stdout.write(json.dumps(cookies))
