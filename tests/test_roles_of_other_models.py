"""The default role resolver trusts only what Django itself means by groups and flags."""

from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Group
from django.db import connection, models
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject, cached_property

from pm_realtime.auth.users import CurrentUsers
from pm_realtime.roles import resolve_role, role_of
from tests.people.models import Member, Membership


class Base(AbstractBaseUser):
    username = models.CharField(max_length=100, unique=True)
    USERNAME_FIELD = "username"

    class Meta:
        abstract = True
        app_label = "people"


class Row(models.Model):
    """A row with a name, as a group has one."""

    name = models.CharField(max_length=100)

    class Meta:
        abstract = True
        app_label = "people"

    def __str__(self):
        return self.name


class Named:
    """An object with a name, as a group has one."""

    def __init__(self, name):
        self.name = name


class FakeManager:
    """A manager of the site's own, which answers as Django's does."""

    def all(self):
        return [Named("master")]

    def filter(self, **conditions):
        return self

    def values_list(self, *names, **options):
        return ["master"]

    def __iter__(self):
        return iter(self.all())


@pytest.mark.parametrize(
    "groups",
    [
        ["master"],
        ("master",),
        {"master"},
        "master",
        b"master",
        {"master": True},
        [Named("master")],
        None,
        True,
        3,
        Named("master"),
        FakeManager(),
        lambda: ["master"],
        property(lambda self: ["master"]),
        property(lambda self: FakeManager()),
        property(lambda self: Group.objects.filter(name="master")),
        property(lambda self: 1 / 0),
        models.JSONField(default=list),
        models.CharField(max_length=9, default="master"),
    ],
)
@isolate_apps("tests.people")
def test_groups_that_are_no_relation_give_the_lowest_role(groups):
    class Person(Base):
        pass

    if isinstance(groups, models.Field):
        groups.contribute_to_class(Person, "groups")
        person = Person(pk=1, groups="master")
    else:
        Person.groups = groups
        person = Person(pk=1)
    assert resolve_role(person) == "user"
    assert role_of(person) == "user"


@isolate_apps("tests.people", "django.contrib.contenttypes", "django.contrib.auth")
def test_relations_to_other_models_give_the_lowest_role_without_a_query():
    class Club(Row):
        pass

    class Team(Group):
        """A row of its own beside that of a group, made and named by users."""

        class Meta:
            app_label = "people"

    class OfClubs(Base):
        groups = models.ManyToManyField(Club, related_name="+")

    class OfTeams(Base):
        groups = models.ManyToManyField(Team, related_name="+")

    class OfOneGroup(Base):
        groups = models.ForeignKey(Group, models.CASCADE, related_name="+")

    class OfItself(Base):
        groups = models.ManyToManyField("self")

    class Owner(Base):
        pass

    class Listed(Base):
        pass

    class Owned(Row):
        """A reverse relation: users make groups of their own."""

        owner = models.ForeignKey(Owner, models.CASCADE, related_name="groups")
        members = models.ManyToManyField(Listed, related_name="groups")

    for model in (OfClubs, OfTeams, OfOneGroup, OfItself, Owner, Listed):
        # No database fixture: a query would fail this test.
        assert resolve_role(model(pk=1)) == "user", model


@isolate_apps("tests.people")
def test_group_of_a_site_with_the_name_of_djangos_gives_the_lowest_role():
    class SiteGroup(Row):
        class Meta:
            app_label = "auth"

    SiteGroup.__name__ = "Group"
    SiteGroup._meta.object_name = "Group"

    class Person(Base):
        groups = models.ManyToManyField(SiteGroup, related_name="+")

    assert resolve_role(Person(pk=1)) == "user"


@pytest.fixture
def member(db):
    member = Member.objects.create(username="member")
    group = Group.objects.create(name="editor")
    Membership.objects.create(member=member, group=group)
    return member


def test_groups_through_a_model_of_the_site_count(member):
    assert resolve_role(member) == "editor"


def test_groups_of_a_lazy_user_count(member):
    assert resolve_role(SimpleLazyObject(lambda: member)) == "editor"


@isolate_apps("tests.people")
def test_groups_of_a_proxy_and_of_a_child_model_count(member):
    class Proxy(Member):
        class Meta:
            app_label = "people"
            proxy = True

    class Child(Member):
        class Meta:
            app_label = "people"

    assert resolve_role(Proxy(pk=member.pk)) == "editor"
    assert resolve_role(Child(member_ptr_id=member.pk, id=member.pk)) == "editor"


@isolate_apps("tests.people")
def test_proxy_that_hides_the_groups_has_the_lowest_role(member):
    class Proxy(Member):
        groups = property(lambda self: FakeManager())

        class Meta:
            app_label = "people"
            proxy = True

    assert resolve_role(Proxy(pk=member.pk)) == "user"


def test_fetched_groups_of_another_model_do_not_count():
    class Owner:
        is_authenticated = True
        _prefetched_objects_cache = {"groups": [Named("master")]}
        groups = FakeManager()

    assert resolve_role(Owner()) == "user"


class TrueFlag:
    def __bool__(self):
        return True


@pytest.mark.parametrize("name", ["is_superuser", "is_staff"])
@pytest.mark.parametrize(
    "flag",
    [
        models.CharField(max_length=5, default="False"),
        models.CharField(max_length=5, default="True"),
        models.IntegerField(default=1),
        models.JSONField(default=list),
        models.BooleanField(default=False),
        models.BooleanField(null=True),
        property(lambda self: "False"),
        property(lambda self: 1),
        property(lambda self: TrueFlag()),
        property(lambda self: self.no_such_attribute),
        lambda self: True,
        classmethod(lambda cls: True),
        staticmethod(lambda: True),
        "True",
        "False",
        1,
        [False],
        TrueFlag(),
        None,
    ],
)
@isolate_apps("tests.people")
def test_flag_that_is_not_true_gives_the_lowest_role(name, flag):
    class Person(Base):
        pass

    if isinstance(flag, models.Field):
        flag.clone().contribute_to_class(Person, name)
    else:
        setattr(Person, name, flag)
    assert resolve_role(Person(pk=1)) == "user"


@pytest.mark.parametrize(("name", "role"), [("is_superuser", "master"), ("is_staff", "admin")])
@isolate_apps("tests.people")
def test_true_boolean_of_the_model_counts(name, role):
    class Flagged(Base):
        pass

    models.BooleanField(default=True).contribute_to_class(Flagged, name)

    class Computed(Base):
        """As in Django's documentation of custom user models."""

        is_admin = models.BooleanField(default=True)

    class Cached(Computed):
        pass

    setattr(Computed, name, property(lambda self: self.is_admin))
    kept = cached_property(lambda self: self.is_admin)
    kept.__set_name__(Cached, name)
    setattr(Cached, name, kept)
    assert resolve_role(Flagged(pk=1)) == role
    assert resolve_role(SimpleLazyObject(lambda: Flagged(pk=1))) == role
    assert resolve_role(Computed(pk=1)) == role
    assert resolve_role(Cached(pk=1)) == role
    assert resolve_role(Computed(pk=1, is_admin=False)) == "user"


@isolate_apps("tests.people")
def test_flags_of_one_object_that_its_model_does_not_have_give_the_lowest_role():
    class Person(Base):
        pass

    person = Person(pk=1)
    person.is_superuser = person.is_staff = True  # As an annotation of a query, or a middleware.
    assert resolve_role(person) == "user"


def test_user_that_is_no_model_has_the_lowest_role():
    """As a middleware makes one from a token, with the claims that the token has."""
    claims = {"is_superuser": True, "is_staff": True, "groups": ["master"]}
    assert resolve_role(SimpleNamespace(is_authenticated=True, pk=1, **claims)) == "user"
    anonymous = AnonymousUser()
    anonymous.is_superuser = True
    assert resolve_role(anonymous) is None


@pytest.fixture
def clubs(transactional_db, settings):
    """A site whose users have groups of the site's own model."""
    with isolate_apps("tests.people"):

        class Club(Row):
            pass

        class Clubber(Base):
            groups = models.ManyToManyField(Club, related_name="+")

        with connection.schema_editor() as editor:
            editor.create_model(Club)
            editor.create_model(Clubber)
        clubber = Clubber.objects.create(username="clubber")
        clubber.groups.add(Club.objects.create(name="master"))
        yield clubber
        with connection.schema_editor() as editor:
            editor.delete_model(Clubber)
            editor.delete_model(Club)


def test_self_made_group_named_as_a_role_gives_the_lowest_role(clubs, monkeypatch):
    assert [group.name for group in clubs.groups.all()] == ["master"]
    assert role_of(clubs) == "user"
    fetched = type(clubs).objects.prefetch_related("groups").get()
    assert role_of(fetched) == "user"


@pytest.mark.parametrize("model", ["site.User", "people.Member", "people.Employee", "people.Clerk"])
def test_recheck_reads_djangos_groups_for_all_at_once(
    django_assert_num_queries, db, settings, model
):
    settings.AUTH_USER_MODEL = model
    users = [get_user_model().objects.create(username=name) for name in "ab"]
    group = Group.objects.create(name="editor")
    for user in users:
        user.groups.add(group)
    claims = [SimpleNamespace(user=user, user_id=str(user.pk), session=None) for user in users]
    with django_assert_num_queries(2):
        current = CurrentUsers(claims)
        assert [current.role_of(current.get(claim)) for claim in claims] == ["editor", "editor"]
