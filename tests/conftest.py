import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

ROLES = ("user", "editor", "admin", "master")


@pytest.fixture
def make_user(transactional_db):
    """Make a user of a role in the way the default resolver reads it."""

    def make(role="user", username=None, **fields):
        user = get_user_model().objects.create_user(
            username=username or f"the-{role}", is_superuser=role == "master", **fields
        )
        if role in ("editor", "admin"):
            user.groups.add(Group.objects.get_or_create(name=role)[0])
        return user

    return make


@pytest.fixture
def user(make_user):
    return make_user("user", first_name="Uma", last_name="User")


@pytest.fixture
def editor(make_user):
    return make_user("editor", first_name="Ed", last_name="Itor")
