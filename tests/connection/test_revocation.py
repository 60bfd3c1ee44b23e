"""A connection ends, or leaves a room, when its user or the role changes."""

import asyncio

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from pm_realtime import (
    aget_connection,
    arefresh_room,
    arefresh_user,
    asend_to_role,
    asend_to_room,
    asubscribe,
    refresh_user,
)
from pm_realtime.backends import get_backend
from pm_realtime.exceptions import BackendError
from pm_realtime.hub import get_hub
from tests.connection.revoking import (
    demoted,
    everyone_of,
    now,
    opened,
    rechecked,
)
from tests.site import rules
from tests.support.helpers import Connection, eventually
from tests.support.sessions import Browser

pytestmark = pytest.mark.usefixtures("leaves_nothing")

User = get_user_model()


# Users


async def test_deactivated_user_is_disconnected(engine, rarely, user, editor):
    async with opened(await Browser.of(user)) as ends, opened(await Browser.of(editor)) as stays:
        user.is_active = False
        await user.asave()
        await ends.assert_closed(4504)
        assert await stays.is_alive()


async def test_deleted_user_is_disconnected(engine, rarely, user, editor):
    async with opened(await Browser.of(user)) as ends, opened(await Browser.of(editor)) as stays:
        await user.adelete()
        await ends.assert_closed(4504)
        assert await stays.is_alive()


@pytest.mark.parametrize("change", ["update", "delete"])
async def test_user_changed_without_a_signal_is_found_by_the_sweep(often, user, editor, change):
    async with opened(await Browser.of(user)) as ends, opened(await Browser.of(editor)) as stays:
        rows = User.objects.filter(pk=user.pk)
        if change == "update":
            await rows.aupdate(is_active=False)
        else:
            await now(lambda: rows._raw_delete(rows.db))
        await ends.assert_closed(4504)
        assert await stays.is_alive()


async def test_rolled_back_change_of_a_user_changes_nothing(rarely, user):
    def deactivate_in_vain():
        with transaction.atomic():
            user.is_active = False
            user.save()
            transaction.set_rollback(True)

    async with Connection(user=user) as connection:
        await now(deactivate_in_vain)
        await arefresh_user(user)
        assert await connection.is_alive()


# Roles


def _remove(user, group):
    user.groups.remove(group)


def _remove_reverse(user, group):
    group.user_set.remove(user)


def _clear(user, group):
    user.groups.clear()


def _clear_reverse(user, group):
    group.user_set.clear()


def _set(user, group):
    user.groups.set([])


def _delete_row(user, group):
    through = User.groups.through
    if through._meta.auto_created:
        user.groups.clear()  # Django tells nobody of such a row.
    else:
        through.objects.get().delete()


def _delete_group(user, group):
    group.delete()


def _rename_group(user, group):
    group.name = "something else"
    group.save()


@pytest.mark.parametrize(
    "change",
    [
        _remove,
        _remove_reverse,
        _clear,
        _clear_reverse,
        _set,
        _delete_row,
        _delete_group,
        _rename_group,
    ],
)
async def test_lost_group_takes_its_rooms_away(rarely, editor, change):
    group = await Group.objects.aget(name="editor")
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        await connection.subscribe("lobby")
        await now(lambda: change(editor, group))
        await demoted(connection)
        await asend_to_room("support", "secret")
        await asend_to_role("editor", "secret")
        await asend_to_room("lobby", "news")
        assert await connection.types_so_far() == ["news"]
        assert (await aget_connection(connection.connection_id)).role == "user"
        assert (await aget_connection(connection.connection_id)).rooms == ("lobby",)


@pytest.mark.parametrize("flag", ["is_superuser", "is_staff"])
async def test_lost_flag_takes_its_rooms_away(rarely, user, flag):
    setattr(user, flag, True)
    await user.asave()
    async with Connection(user=user) as connection:
        await connection.subscribe("support")
        setattr(user, flag, False)
        await user.asave()
        await demoted(connection)


async def test_promoted_user_gets_messages_to_the_role_at_once(rarely, user):
    async with Connection(user=user) as connection:
        group = await Group.objects.acreate(name="admin")
        await user.groups.aadd(group)
        await rechecked(connection)
        await asend_to_role("admin", "news")
        await connection.assert_push("news")
        await connection.subscribe("support")


async def test_role_changed_by_sql_is_found_by_the_sweep(often, editor):
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        rows = User.groups.through.objects.all()
        await now(lambda: rows._raw_delete(rows.db))
        await demoted(connection)


async def test_nothing_sent_after_a_demotion_reaches_the_user(rarely, editor):
    """Also while what has changed is still being found out."""

    def demote():
        with transaction.atomic():
            editor.groups.clear()
            return None

    async with Connection(user=editor) as connection:
        for number in range(20):
            await editor.groups.aset(await everyone_of("editor"))
            await rechecked(connection)
            await connection.subscribe("support")
            await now(demote)
            for _ in range(20):
                await asend_to_room("support", "secret", number)
            await demoted(connection)
        assert await connection.types_so_far() == []


async def test_forced_subscription_outlives_the_role(rarely, editor):
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        await asubscribe(connection.connection_id, "support")
        await connection.so_far()
        await editor.groups.aclear()
        await rechecked(connection)
        await asend_to_room("support", "news")
        assert await connection.types_so_far() == ["news"]


async def test_refresh_decides_rooms_by_the_present_rule(rarely, configure, user):
    configure(ROOMS={"even:<int:pk>": {"authorize": "tests.site.rules.by_list"}})
    rules.allowed.update({2, 4})
    async with Connection(user=user) as connection:
        await connection.subscribe("even:2")
        await connection.subscribe("even:4")
        rules.allowed.clear()
        await asend_to_room("even:2", "news")
        assert await connection.types_so_far() == ["news"]
        await arefresh_room("even:2")
        gone = await connection.assert_push("unsubscribed")
        assert gone["payload"]["room"] == "even:2"
        await asend_to_room("even:2", "secret")
        await asend_to_room("even:4", "news")
        assert await connection.types_so_far() == ["news"]
        await now(lambda: refresh_user(user))
        gone = await connection.assert_push("unsubscribed")
        assert gone["payload"]["room"] == "even:4"


async def test_commands_wait_while_rights_are_suspect(rarely, editor):
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        await editor.groups.aclear()
        id = await connection.command("message", {"room": "support", "content": "too late"})
        await connection.assert_error(id, "NOT_IN_ROOM")
        id = await connection.command("subscribe", {"room": "support"})
        await connection.assert_error(id, "FORBIDDEN")


async def test_last_of_many_changes_counts(rarely, editor):
    async with Connection(user=editor) as connection:
        for _ in range(10):
            await editor.groups.aclear()
            await editor.groups.aset(await everyone_of("editor"))
        await rechecked(connection)
        await connection.subscribe("support")
        await asyncio.gather(*(arefresh_user(editor) for _ in range(50)))
        await asend_to_room("support", "news")
        await connection.assert_push("news")
        await eventually(connection.output_queue.empty)


@pytest.mark.parametrize("is_anonymous", [False, True])
async def test_rooms_are_reconsidered_after_an_outage(rarely, configure, user, is_anonymous):
    configure(ROOMS={"even:<int:pk>": {"public": True, "authorize": "tests.site.rules.by_list"}})
    rules.allowed.update({2})
    async with Connection(user=None if is_anonymous else user) as connection:
        await connection.subscribe("even:2")
        rules.allowed.clear()
        get_hub().control.recheck_all()
        await connection.assert_push("unsubscribed")


# Failures


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("room", RuntimeError("a defect")),
        ("everything", RuntimeError("a defect")),
        ("user", RuntimeError("a defect")),
        ("user", BackendError("Redis is away.")),
    ],
)
async def test_connection_that_cannot_follow_its_rights_has_to_come_again(
    configure, rarely, user, change, error
):
    """It would not be told that it has left the room, or hold all messages for good."""
    configure(
        BACKEND="tests.connection.fakes.BrokenBackend",
        ROOMS={"known": {"public": True, "authorize": "tests.site.rules.by_switch"}},
    )
    get_backend().error = error
    rules.switch["known"] = True
    async with Connection(user=user if change == "user" else None) as connection:
        await connection.subscribe("known")
        rules.switch["known"] = False
        if change == "room":
            await arefresh_room("known")
        elif change == "user":
            await arefresh_user(user)
        else:
            get_hub().control.recheck_all()
        await connection.assert_closed(4013)
