"""Rules are asked again if something changed that they may go by, and only then."""

from contextvars import ContextVar

import pytest
from channels.middleware import BaseMiddleware
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils import timezone

from pm_realtime import arefresh_room, arefresh_user, asend_to_room, asend_to_user
from pm_realtime.auth import receivers
from pm_realtime.connection import RealtimeConsumer
from tests.connection.revoking import now, rechecked
from tests.people.models import Employee, Member
from tests.site import rules
from tests.support.helpers import Connection, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing")

User = get_user_model()
ROOMS = ("project:2", "project:4")


@pytest.fixture
def asked(configure, rarely):
    """Configure rooms with a rule, and give the list of its calls."""
    configure(ROOMS={"project:<int:pk>": {"authorize": "tests.site.rules.even_only"}})
    rules.calls.clear()
    return rules.calls


async def joined(connection, asked):
    for room in ROOMS:
        await connection.subscribe(room)
    asked.clear()


async def settled(connection):
    """Return when nothing about the connection is held any more."""
    await connection.so_far()
    assert await connection.is_alive()
    await connection.subscribe(ROOMS[0])


def _save(user):
    user.save()


def _save_anew(user):
    User.objects.get(pk=user.pk).save()


def _save_a_field(user):
    user.save(update_fields=["first_name"])


def _save_in_a_transaction(user):
    with transaction.atomic():
        user.save()


def _log_in(user):
    user.last_login = timezone.now()
    user.save()


def _save_the_login(user):
    user.last_login = timezone.now()
    user.save(update_fields=["last_login"])


UNCHANGED = [
    _save,
    _save_anew,
    _save_a_field,
    _save_in_a_transaction,
    _log_in,
    _save_the_login,
]


@pytest.mark.parametrize("save", UNCHANGED)
async def test_saving_a_user_without_a_change_asks_no_rule(asked, user, save):
    async with Connection(user=user) as connection, Connection(user=user) as other:
        await joined(connection, asked)
        await joined(other, asked)
        for number in range(5):
            await now(lambda: save(user))
            await asend_to_room(ROOMS[0], "news", number)
            await asend_to_user(user, "news", number)
        await settled(connection)
        await settled(other)
    assert asked == []


def _rename(user):
    user.first_name = "Another"
    user.save()


def _change_email(user):
    user.email = "another@example.com"
    user.save(update_fields=["email"])


def _join_anew(user):
    user.date_joined = timezone.now()
    user.save()


def _make_staff(user):
    user.is_staff = True
    user.save()


def _add_group(user):
    user.groups.add(Group.objects.create(name="friends"))


def _add_permission(user):
    user.user_permissions.add(_permission())


def _rename_group(user):
    Group.objects.create(name="others").save()


def _change_permissions_of_a_group(user):
    Group.objects.create(name="others").permissions.add(_permission())


def _permission():
    kind, _ = ContentType.objects.get_or_create(app_label="site", model="auction")
    return Permission.objects.get_or_create(codename="bid", content_type=kind)[0]


CHANGED = [
    _rename,
    _change_email,
    _join_anew,
    _make_staff,
    _add_group,
    _add_permission,
    _rename_group,
    _change_permissions_of_a_group,
]


@pytest.mark.parametrize("change", CHANGED)
async def test_change_that_a_rule_may_go_by_asks_it_again(asked, user, change):
    async with Connection(user=user) as connection:
        await joined(connection, asked)
        await now(lambda: change(user))
        await settled(connection)
        assert sorted({room for _, room, _ in asked}) == sorted(ROOMS)


async def test_report_of_a_change_elsewhere_asks_again(asked, user):
    async with Connection(user=user) as connection:
        await joined(connection, asked)
        await arefresh_user(user)
        await settled(connection)
        assert len(asked) == 2
        # A save that follows at once does not take the report back.
        asked.clear()
        await arefresh_user(user)
        await now(user.save)
        await settled(connection)
        assert asked


@pytest.mark.parametrize("update_fields", [None, ["first_name"]])
async def test_ignored_field_asks_no_rule(asked, configure, user, update_fields):
    configure(RIGHTS_IGNORE=["first_name", "is_superuser"])

    def save(**fields):
        for name, value in fields.items():
            setattr(user, name, value)
        user.save(update_fields=update_fields and list(fields))

    async with Connection(user=user) as connection:
        await joined(connection, asked)
        await now(lambda: save(first_name="Another"))
        await settled(connection)
        assert asked == []
        await now(lambda: save(last_login=timezone.now()))
        await settled(connection)
        assert len(asked) == 2
        # A flag that gives a role counts, whatever the setting says.
        await now(lambda: save(is_superuser=True))
        await connection.subscribe("project:6")
        await rechecked(connection)
        assert asked[-1][0].is_superuser


async def test_ignored_relation_asks_no_rule(asked, configure, user):
    configure(RIGHTS_IGNORE=["user_permissions", "groups"])
    async with Connection(user=user) as connection:
        await joined(connection, asked)
        await now(lambda: _add_permission(user))
        await settled(connection)
        assert asked == []
        # A group that gives a role counts, whatever the setting says.
        await now(lambda: user.groups.add(Group.objects.create(name="admin")))
        await settled(connection)
        assert len(asked) == 2


async def test_deactivation_is_followed_though_ignored(asked, configure, user):
    configure(RIGHTS_IGNORE=["is_active", "password"])
    async with Connection(user=user) as connection:
        user.is_active = False
        await user.asave(update_fields=["is_active"])
        await connection.assert_closed(4504)


async def test_rule_that_changes_its_user_hides_no_change(asked, configure, user):
    configure(ROOMS={"own:<int:pk>": {"authorize": f"{__name__}.reads_again"}})
    async with Connection(user=user) as connection:
        await connection.subscribe("own:1")
        await now(lambda: User.objects.filter(pk=user.pk).update(email="no@example.com"))
        # The rule reads the change into the user of this connection.
        await connection.ask("subscribe", {"room": "own:2"})
        await now(lambda: _save_anew(user))
        gone = await connection.assert_push("unsubscribed")
        assert gone["payload"]["room"] == "own:1"


def reads_again(user, room, pk):
    user.refresh_from_db()
    return user.email != "no@example.com"


async def test_sweep_asks_rules_only_after_a_change(asked, configure, often, user):
    seen = timezone.now()
    async with Connection(user=user) as connection:
        await joined(connection, asked)
        await User.objects.filter(pk=user.pk).aupdate(last_login=seen)
        rows = User.objects.filter(pk=user.pk)
        await rows.aupdate(first_name="Another")
        await eventually(lambda: len(asked) == 2)
        assert asked[0][0].first_name == "Another"


def test_saved_child_model_always_asks(monkeypatch, settings, transactional_db):
    """The user of a connection was read without the fields of a child model."""
    settings.AUTH_USER_MODEL = "people.Member"
    reports = []
    monkeypatch.setattr(
        receivers, "refresh_after_commit", lambda target, *, if_changed: reports.append(if_changed)
    )
    member, employee = Member.objects.create(username="a"), Employee.objects.create(username="b")
    member.save()
    employee.save()
    assert reports == [True, False]


tenant = ContextVar("tenant")


class TenantMiddleware(BaseMiddleware):
    """Names the tenant of a connection for all code of the site below."""

    async def __call__(self, scope, receive, send):
        tenant.set(dict(scope["headers"])[b"tenant"].decode())
        return await super().__call__(scope, receive, send)


def of_tenant(user, room):
    return room == tenant.get("no tenant")


@pytest.mark.parametrize("refresh", [arefresh_user, lambda _: arefresh_room("b")])
async def test_rule_is_asked_again_in_the_context_of_its_connection(
    configure, rarely, users, refresh
):
    configure(DEFAULT_ROOM={"authorize": f"{__name__}.of_tenant"})
    application = TenantMiddleware(RealtimeConsumer.as_asgi())
    first, second = users["user"], users["editor"]
    connections = [
        Connection(user=user, application=application, headers=[(b"tenant", room)])
        for user, room in ((first, b"a"), (second, b"b"))
    ]
    async with connections[0] as a, connections[1] as b:
        await a.subscribe("a")
        await b.subscribe("b")
        await refresh(second)
        await asend_to_room("b", "news")
        await b.assert_push("news")
        assert all(each["type"] != "unsubscribed" for each in b.received)
