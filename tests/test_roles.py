"""The role of a user, and the roles that it includes."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.roles import has_role, rank, resolve_role, role_of, roles_up_to

ROLES = ("user", "editor", "admin", "master")


@pytest.fixture
def make_member(db):
    """Make a user who is in the Django groups named."""

    def make(*groups, **fields):
        user = get_user_model().objects.create_user(username="someone", **fields)
        user.groups.set([Group.objects.get_or_create(name=name)[0] for name in groups])
        return user

    return make


@pytest.mark.parametrize(("role", "index"), [(None, -1), *((r, i) for i, r in enumerate(ROLES))])
def test_rank_is_the_index_in_roles(role, index):
    assert rank(role) == index


@pytest.mark.parametrize("name", ["nobody", "Admin", "", "server"])
def test_rank_of_an_unknown_role_raises_and_names_the_known_ones(name):
    with pytest.raises(ValueError, match="user, editor, admin, master"):
        rank(name)


@pytest.mark.parametrize("needed", ROLES)
@pytest.mark.parametrize("role", [None, *ROLES])
def test_role_has_the_rights_of_lower_roles(role, needed):
    order = [None, *ROLES]
    assert has_role(role, needed) is (order.index(role) >= order.index(needed))


@pytest.mark.parametrize(
    ("role", "included"),
    [
        (None, ()),
        ("user", ("user",)),
        ("admin", ("user", "editor", "admin")),
        ("master", ROLES),
    ],
)
def test_role_includes_itself_and_every_lower_one(role, included):
    assert roles_up_to(role) == included


def test_other_roles_have_ranks_of_their_own(settings):
    settings.PM_REALTIME = {"ROLES": ["guest", "host"]}
    assert rank("host") == 1
    assert roles_up_to("host") == ("guest", "host")
    with pytest.raises(ValueError, match="guest, host"):
        rank("admin")


@pytest.mark.parametrize(
    ("groups", "fields", "role"),
    [
        ((), {}, "user"),
        (("user",), {}, "user"),
        (("editor",), {}, "editor"),
        (("admin",), {}, "admin"),
        (("master",), {}, "master"),
        (("editor", "admin"), {}, "admin"),
        (("admin", "editor", "user"), {}, "admin"),
        (("sales", "press"), {}, "user"),
        (("sales", "editor"), {}, "editor"),
        (("Editor",), {}, "user"),
        ((), {"is_staff": True}, "admin"),
        (("editor",), {"is_staff": True}, "admin"),
        (("master",), {"is_staff": True}, "master"),
        ((), {"is_superuser": True}, "master"),
        (("user",), {"is_superuser": True, "is_staff": True}, "master"),
    ],
)
def test_highest_role_of_groups_and_flags_wins(make_member, groups, fields, role):
    assert resolve_role(make_member(*groups, **fields)) == role


@pytest.mark.parametrize(
    ("groups", "fields", "role"),
    [
        ((), {}, "guest"),
        (("host",), {}, "host"),
        (("admin",), {}, "guest"),
        ((), {"is_staff": True}, "guest"),
        (("host",), {"is_staff": True}, "host"),
        ((), {"is_superuser": True}, "owner"),
    ],
)
def test_staff_have_no_special_role_without_an_admin_role(
    settings, make_member, groups, fields, role
):
    settings.PM_REALTIME = {"ROLES": ["guest", "host", "owner"]}
    assert resolve_role(make_member(*groups, **fields)) == role


def test_staff_keep_a_higher_role_if_admin_is_the_lowest(settings, make_member):
    settings.PM_REALTIME = {"ROLES": ["admin", "owner"]}
    assert resolve_role(make_member("owner", is_staff=True)) == "owner"


@pytest.mark.django_db
def test_anonymous_user_has_no_role(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert resolve_role(AnonymousUser()) is None
        assert role_of(AnonymousUser()) is None


@pytest.mark.parametrize("groups", [(), ("editor",), ("editor", "admin", "sales")])
def test_role_costs_one_query(make_member, django_assert_num_queries, groups):
    user = make_member(*groups, is_staff=True)
    with django_assert_num_queries(1):
        role_of(user)


def test_role_of_a_superuser_costs_no_query(make_member, django_assert_num_queries):
    user = make_member("editor", is_superuser=True)
    with django_assert_num_queries(0):
        assert role_of(user) == "master"


def test_user_model_without_groups_and_flags_has_the_lowest_role():
    class Plain(AbstractBaseUser):
        class Meta:
            app_label = "plain"
            managed = False

    assert role_of(Plain()) == "user"


def use_resolver(settings, name):
    settings.PM_REALTIME = {"ROLE_RESOLVER": f"tests.site.rules.{name}"}


def test_resolver_of_the_site_decides(settings):
    use_resolver(settings, "by_name")
    user_model = get_user_model()
    assert role_of(user_model(username="editor", is_superuser=True)) == "editor"
    assert role_of(user_model(username="nobody")) is None


def test_resolver_is_not_called_for_anonymous_users(settings):
    use_resolver(settings, "missing")
    assert role_of(AnonymousUser()) is None


@pytest.mark.parametrize("answer", ["emperor", "", "server", 5, True, ("admin",)])
def test_invalid_result_of_a_resolver_raises_and_is_named(settings, answer):
    use_resolver(settings, "by_name")
    user = get_user_model()()
    user.username = answer
    with pytest.raises(ImproperlyConfigured) as raised:
        role_of(user)
    message = str(raised.value)
    assert "tests.site.rules.by_name must return one of ROLES" in message
    assert repr(answer) in message
