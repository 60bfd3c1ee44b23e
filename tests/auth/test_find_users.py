"""Users by their primary keys as texts."""

from types import SimpleNamespace

import pytest
from django.contrib.auth.backends import BaseBackend

from pm_realtime.auth import find_users


def test_users_are_found_with_one_query(users, django_assert_num_queries):
    keys = [str(each.pk) for each in users.values()]
    with django_assert_num_queries(1):
        found = find_users([*keys, "no-such-key"])
    assert found == {str(each.pk): each for each in users.values()}


def test_nobody_is_asked_for_without_a_query(users, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert find_users([]) == {}


class PermissionsBackend:
    """As those of django-rules and django-guardian, which find no users."""

    def authenticate(self, request, **credentials):
        return None

    def has_perm(self, user, permission, obj=None):
        return False


class StrictBackend(BaseBackend):
    """Raises for the keys of other backends."""

    def get_user(self, user_id):
        kind, _, number = str(user_id).partition(":")
        if kind != "own":
            raise ValueError(user_id)
        return SimpleNamespace(pk=user_id, number=int(number))


@pytest.mark.parametrize("backend", ["PermissionsBackend", "StrictBackend"])
def test_users_are_found_beside_one_that_a_further_backend_cannot_find(settings, user, backend):
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        f"{__name__}.{backend}",
    ]
    found = find_users([str(user.pk), "deleted", "own:5"])
    assert found.pop(str(user.pk)) == user
    assert [each.number for each in found.values()] == [5] * (backend == "StrictBackend")
