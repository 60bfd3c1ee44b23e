"""The four users of the demo, one for each role."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group, User


@dataclass(frozen=True)
class DemoUser:
    """A user that the demo creates. The username is the role."""

    username: str
    first_name: str
    last_name: str
    may: str
    group: str | None = None
    is_staff: bool = False
    is_superuser: bool = False

    @property
    def password(self) -> str:
        return f"{self.username}-demo"

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}"


DEMO_USERS = (
    DemoUser("user", "Uma", "Okafor", "writes through the contact form"),
    DemoUser("editor", "Eli", "Santos", "answers in the support chat", group="editor"),
    DemoUser("admin", "Ada", "Lindqvist", "also sends notifications", group="admin", is_staff=True),
    DemoUser("master", "Max", "Hofmann", "may do everything", is_staff=True, is_superuser=True),
)


def demo_people() -> list[dict[str, Any]]:
    """The demo users for the login page, with their primary keys, which give them their colours."""
    keys = dict(User.objects.values_list("username", "pk"))
    return [
        {
            "pk": keys.get(person.username, person.username),
            "username": person.username,
            "password": person.password,
            "full_name": person.full_name,
            "may": person.may,
        }
        for person in DEMO_USERS
    ]


def ensure(person: DemoUser) -> tuple[User, bool]:
    """The user for ``person``, and whether they still have the demo's own password.

    A missing user is created. An existing one is not changed.
    """
    user, created = User.objects.get_or_create(
        username=person.username,
        defaults={
            "first_name": person.first_name,
            "last_name": person.last_name,
            "email": f"{person.username}@example.com",
            "is_staff": person.is_staff,
            "is_superuser": person.is_superuser,
        },
    )
    if created:
        user.set_password(person.password)
        user.save()
        if person.group:
            user.groups.add(Group.objects.get_or_create(name=person.group)[0])
    return user, created or user.check_password(person.password)
