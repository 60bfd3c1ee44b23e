"""A connection ends, or leaves a room, when the right to it ends."""

import asyncio
import time
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model, logout
from django.contrib.auth.models import Group
from django.core.cache.backends.locmem import LocMemCache
from django.db import transaction

from pm_realtime import (
    aget_connection,
    arefresh_room,
    arefresh_user,
    asend_to_role,
    asend_to_room,
    asubscribe,
    refresh_user,
    send_to_room,
)
from pm_realtime.auth import (
    Rechecker,
    get_rechecker,
    recheck_identities,
    sessions,
    set_rechecker,
)
from pm_realtime.connection import RealtimeConsumer, handshake, slot
from pm_realtime.connection.timings import ConnectionTimings
from pm_realtime.hub import Hub, get_hub
from pm_realtime.layer import role_group, room_group
from tests.site import rules
from tests.support.helpers import Connection, errors_of, eventually, layer_groups
from tests.support.sessions import ENGINES, Browser, store_of

pytestmark = pytest.mark.usefixtures("leaves_nothing")

User = get_user_model()


@pytest.fixture(params=ENGINES)
def engine(request, settings, tmp_path):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    return request.param


@pytest.fixture
def rarely(configure):
    """What a test sees does not come from the sweep."""
    configure(SESSION_RECHECK_INTERVAL=600)


@pytest.fixture
def often(configure):
    configure(SESSION_RECHECK_INTERVAL=0.2)


def opened(browser, **timings):
    """A connection of ``browser``, to a consumer with other ``timings``."""
    return Connection(headers=browser.headers, application=application(**timings))


def application(**timings):
    class Consumer(RealtimeConsumer):
        pass

    Consumer.timings = ConnectionTimings(**timings)
    return Consumer.as_asgi()


def now(function):
    """Call a sync ``function`` that uses the database."""
    return sync_to_async(function)()


# Sessions


async def test_a_logout_ends_the_connections_of_its_session_only(engine, rarely, user):
    mine, other = await Browser.of(user), await Browser.of(user)
    async with opened(mine) as one, opened(mine) as two, opened(other) as stays:
        await mine.log_out()
        await one.assert_closed(4501)
        await two.assert_closed(4501)
        assert await stays.is_alive()


async def test_who_logs_in_as_another_user_ends_the_session(engine, rarely, user, editor):
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        await browser.log_in_as(editor)
        await connection.assert_closed(4501)


@pytest.mark.parametrize("step", ["flush", "aflush"])
async def test_a_session_that_nobody_read_before_it_was_emptied_ends(engine, rarely, user, step):
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        store = store_of(browser.key)
        await (now(store.flush) if step == "flush" else store.aflush())
        await connection.assert_closed(4501)


async def test_a_logout_in_vain_ends_what_the_session_engine_does_not_take_back(
    engine, rarely, user
):
    """A database does; a cache and a folder know no transactions, and a cookie is the client's."""

    def log_out_in_vain(request):
        with transaction.atomic():
            logout(request)
            transaction.set_rollback(True)

    browser, other = await Browser.of(user), await Browser.of(user)
    async with opened(browser) as connection, opened(other) as fence:
        key = browser.key
        await browser.request(log_out_in_vain)
        await other.log_out()
        await fence.assert_closed(4501)
        if await now(lambda: sessions.read(key)):
            assert await connection.is_alive()
        else:
            await connection.assert_closed(4501)


async def test_who_logs_in_once_more_stays(engine, often, user):
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        await browser.log_in_as(user)
        await looked_at(connection)
        assert await connection.is_alive()


async def test_a_cookie_from_before_the_app_was_installed_is_followed(rarely, settings, user):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    browser = await Browser.of(user)
    unnamed = store_of(None)
    unnamed.update(store_of(browser.key).load())
    del unnamed[sessions.NAME_KEY]
    unnamed.save()
    browser.key = unnamed.session_key
    async with opened(browser) as connection:
        for number in range(3):
            await browser.request(lambda request, n=number: request.session.update({"cart": n}))
        assert await connection.is_alive()
        await browser.log_out()
        await connection.assert_closed(4501)


async def test_a_session_ends_at_its_time(engine, rarely, user):
    browser = await Browser.of(user, age=2)
    async with opened(browser) as connection:
        assert await connection.is_alive()
        await connection.assert_closed(4501)


async def test_changed_cookie_session_ends_at_its_time(settings, rarely, user):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    browser = await Browser.of(user, age=2)
    async with opened(browser) as connection:
        await browser.change_password()
        assert await connection.is_alive()
        # Not only when a change may take no longer, 10 s.
        async with asyncio.timeout(7):
            await connection.assert_closed(4501)


async def test_a_session_that_is_renewed_in_time_goes_on(engine, rarely, user):
    browser, short = await Browser.of(user, age=2), await Browser.of(user, age=2)
    async with opened(browser) as connection, opened(short) as fence:
        await browser.request(lambda request: request.session.set_expiry(600))
        await fence.assert_closed(4501)
        assert await connection.is_alive()


@asynccontextmanager
async def surviving(engine, connection, browser):
    """The connection of ``browser`` after its session changed: a new one if it has another key."""
    if engine == "signed_cookies":
        assert await connection.is_alive()
        yield connection
        return
    await connection.assert_closed(4013)
    async with opened(browser) as again:
        assert again.connected["userId"] == connection.connected["userId"]
        yield again


async def test_changed_password_ends_other_sessions(engine, rarely, user):
    mine, other = await Browser.of(user), await Browser.of(user)
    async with opened(mine) as first, opened(other) as ends:
        await mine.change_password()
        await ends.assert_closed(4501)
        async with surviving(engine, first, mine) as stays:
            await mine.log_out()
            await stays.assert_closed(4501)


async def test_changed_password_keeps_its_session_during_a_slow_response(engine, rarely, user):
    """A mail may have to be sent first. Meanwhile the session does not fit the new password."""
    timings = {"second_look_seconds": 0.05, "cookie_delay_seconds": 0.2}
    mine, other = await Browser.of(user), await Browser.of(user)
    async with opened(mine, **timings) as first, opened(other, **timings) as ends:
        await mine.change_password(and_then=lambda: time.sleep(1))
        await ends.assert_closed(4501)
        async with surviving(engine, first, mine) as stays:
            await looked_at(stays)
            assert await stays.is_alive()


@pytest.mark.parametrize("step", ["cycle_key", "acycle_key"])
async def test_rekeyed_session_that_was_not_loaded_goes_on(engine, often, user, step):
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        store = store_of(browser.key)
        await (now(store.cycle_key) if step == "cycle_key" else store.acycle_key())
        await now(store.save)
        browser.key = store.session_key
        async with surviving(engine, connection, browser) as stays:
            await looked_at(stays)
            assert await stays.is_alive()
            await browser.log_out()
            await stays.assert_closed(4501)


async def test_handshake_with_a_replaced_cookie_comes_again(rarely, user):
    """The response with the new cookie may come after the client's first attempt."""
    browser = await Browser.of(user)
    old = list(browser.headers)
    async with opened(browser) as connection:
        await browser.change_password()
        await connection.assert_closed(4013)
        async with opened(await Browser.of(user)):
            early = Connection(headers=old)
            await early.connect()
            await early.assert_closed(4013)
        async with opened(browser) as again:
            assert again.connected["userId"] == connection.connected["userId"]


async def test_a_password_changed_just_after_a_request_ends_the_session(engine, rarely, user):
    """That wrote the session, but is not about to write it again."""
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        await browser.request(lambda request: request.session.update({"cart": 1}))
        assert await connection.is_alive()
        user.set_password("another")
        await user.asave()
        async with asyncio.timeout(7):
            await connection.assert_closed(4501)


async def test_a_password_set_by_somebody_else_ends_all_sessions(engine, rarely, user):
    async with opened(await Browser.of(user)) as one, opened(await Browser.of(user)) as two:

        def change():
            user.set_password("another")
            user.save()

        await now(change)
        await one.assert_closed(4501)
        await two.assert_closed(4501)


@pytest.mark.parametrize(
    "engine", [name for name in ENGINES if name != "signed_cookies"], indirect=True
)
async def test_a_session_that_is_lost_is_found_by_the_sweep(engine, often, user):
    mine, other = await Browser.of(user), await Browser.of(user)
    async with opened(mine) as ends, opened(other) as stays:
        await mine.lose()
        await ends.assert_closed(4501)
        assert await stays.is_alive()


async def test_a_cache_that_is_away_ends_no_session(often, settings, user, caplog):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        with mock.patch.object(LocMemCache, "get", side_effect=ConnectionError("it is away")):
            await looked_at_in_vain(caplog)
            await assert_refused(browser, 4013)
        assert await connection.is_alive()
        await browser.lose()
        await connection.assert_closed(4501)


async def test_a_session_file_that_cannot_be_read_ends_no_session(often, settings, user, caplog):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.file"
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        path = Path(store_of(browser.key)._key_to_file(browser.key))
        aside, loop = path.with_name("aside"), path.with_name("loop")
        aside.hardlink_to(path)
        loop.symlink_to(path)
        loop.replace(path)
        await looked_at_in_vain(caplog)
        await assert_refused(browser, 4013)
        aside.replace(path)
        assert await connection.is_alive()
        await browser.lose()
        await connection.assert_closed(4501)


async def looked_at_in_vain(caplog):
    """Return when a sweep has found out nothing."""
    await eventually(lambda: "Open connections could not be rechecked." in caplog.messages)


async def assert_refused(browser, code):
    connection = opened(browser)
    assert (await connection.connect())[0]
    await connection.assert_closed(code)


@pytest.mark.parametrize("key", ["../../etc/passwd", "x" * 300, "x" * 5, "\x7f\n spaces"])
@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
async def test_who_brings_no_key_of_a_session_is_nobody(transactional_db, engine, key):
    browser = Browser(None)
    browser.key = key
    async with opened(browser) as connection:
        assert connection.connected["userId"] is None


async def test_a_password_changed_by_sql_is_found_by_the_sweep(engine, often, user):
    async with opened(await Browser.of(user)) as connection:
        await User.objects.filter(pk=user.pk).aupdate(password="unusable")
        await connection.assert_closed(4501)


# Users


async def test_a_user_made_inactive_is_gone(engine, rarely, user, editor):
    async with opened(await Browser.of(user)) as ends, opened(await Browser.of(editor)) as stays:
        user.is_active = False
        await user.asave()
        await ends.assert_closed(4504)
        assert await stays.is_alive()


async def test_a_deleted_user_is_gone(engine, rarely, user, editor):
    async with opened(await Browser.of(user)) as ends, opened(await Browser.of(editor)) as stays:
        await user.adelete()
        await ends.assert_closed(4504)
        assert await stays.is_alive()


@pytest.mark.parametrize("change", ["update", "delete"])
async def test_what_no_signal_tells_of_a_user_is_found_by_the_sweep(often, user, editor, change):
    async with opened(await Browser.of(user)) as ends, opened(await Browser.of(editor)) as stays:
        rows = User.objects.filter(pk=user.pk)
        if change == "update":
            await rows.aupdate(is_active=False)
        else:
            await now(lambda: rows._raw_delete(rows.db))
        await ends.assert_closed(4504)
        assert await stays.is_alive()


async def test_what_is_rolled_back_changes_nothing(rarely, user):
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


async def looked_at(connection):
    """Return when a re-check that was asked for now is done."""
    await arefresh_user(connection.connected["userId"])
    await connection.so_far()
    await connection.subscribe("fence")
    await connection.ask("unsubscribe", {"room": "fence"})


async def demoted(connection):
    gone = await connection.assert_push("unsubscribed")
    assert gone["payload"] == {"room": "support", "success": True, "reason": "forbidden"}


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
async def test_who_loses_a_group_loses_its_rooms(rarely, editor, change):
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
async def test_who_loses_a_flag_loses_its_rooms(rarely, user, flag):
    setattr(user, flag, True)
    await user.asave()
    async with Connection(user=user) as connection:
        await connection.subscribe("support")
        setattr(user, flag, False)
        await user.asave()
        await demoted(connection)


async def test_who_is_promoted_gets_what_is_sent_to_the_role_at_once(rarely, user):
    async with Connection(user=user) as connection:
        group = await Group.objects.acreate(name="admin")
        await user.groups.aadd(group)
        await looked_at(connection)
        await asend_to_role("admin", "news")
        await connection.assert_push("news")
        await connection.subscribe("support")


async def test_a_role_changed_by_sql_is_found_by_the_sweep(often, editor):
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        rows = User.groups.through.objects.all()
        await now(lambda: rows._raw_delete(rows.db))
        await demoted(connection)


async def test_nothing_sent_after_a_demotion_reaches_who_was_demoted(rarely, editor):
    """Also while what has changed is still being found out."""

    def demote():
        with transaction.atomic():
            editor.groups.clear()
            return None

    async with Connection(user=editor) as connection:
        for number in range(20):
            await editor.groups.aset(await everyone_of("editor"))
            await looked_at(connection)
            await connection.subscribe("support")
            await now(demote)
            for _ in range(20):
                await asend_to_room("support", "secret", number)
            await demoted(connection)
        assert await connection.types_so_far() == []


async def everyone_of(name):
    return [group async for group in Group.objects.filter(name=name)]


async def test_who_was_also_put_into_a_room_by_the_site_stays_in_it(rarely, editor):
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        await asubscribe(connection.connection_id, "support")
        await connection.so_far()
        await editor.groups.aclear()
        await looked_at(connection)
        await asend_to_room("support", "news")
        assert await connection.types_so_far() == ["news"]


async def test_what_a_rule_says_now_counts_when_the_site_says_so(rarely, configure, user):
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


async def test_commands_wait_while_a_right_is_in_doubt(rarely, editor):
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        await editor.groups.aclear()
        id = await connection.command("message", {"room": "support", "content": "too late"})
        await connection.assert_error(id, "NOT_IN_ROOM")
        id = await connection.command("subscribe", {"room": "support"})
        await connection.assert_error(id, "FORBIDDEN")


async def test_many_changes_at_once_end_as_the_last(rarely, editor):
    async with Connection(user=editor) as connection:
        for _ in range(10):
            await editor.groups.aclear()
            await editor.groups.aset(await everyone_of("editor"))
        await looked_at(connection)
        await connection.subscribe("support")
        await asyncio.gather(*(arefresh_user(editor) for _ in range(50)))
        await asend_to_room("support", "news")
        await connection.assert_push("news")
        await eventually(connection.output_queue.empty)


@pytest.mark.parametrize("is_anonymous", [False, True])
async def test_what_was_said_of_a_room_during_an_outage_counts_when_it_is_over(
    rarely, configure, user, is_anonymous
):
    configure(ROOMS={"even:<int:pk>": {"public": True, "authorize": "tests.site.rules.by_list"}})
    rules.allowed.update({2})
    async with Connection(user=None if is_anonymous else user) as connection:
        await connection.subscribe("even:2")
        rules.allowed.clear()
        await get_hub().channel.resubscribe()
        await connection.assert_push("unsubscribed")


# What was read before, and what comes in between


@pytest.fixture
async def slow_looks():
    """Each look at connections reads at once and tells only when it is let, one after another."""
    looks = []

    def look(identities):
        answer = SimpleNamespace(found=recheck_identities(identities), may_tell=Future())
        looks.append(answer)
        answer.may_tell.result(30)
        return answer.found

    set_rechecker(Rechecker(recheck=look))
    yield looks
    for each in looks:
        each.may_tell.cancel()


async def test_what_a_sweep_read_before_a_demotion_lets_nothing_through(
    configure, editor, slow_looks
):
    configure(SESSION_RECHECK_INTERVAL=0.2)
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        await eventually(lambda: len(slow_looks) == 1)
        await editor.groups.aclear()
        await eventually(lambda: len(slow_looks) == 2)
        await asend_to_room("support", "secret")
        slow_looks[0].may_tell.set_result(None)
        await eventually(lambda: len(slow_looks) == 3)  # The sweep has gone on.
        assert await is_held(connection)
        for look in slow_looks[1:]:
            look.may_tell.set_result(None)
        assert (await connection.receive())["type"] == "unsubscribed"


async def is_held(connection):
    """Whether what is pushed to ``connection`` does not reach it."""
    await asyncio.sleep(0)
    await connection.ask("ping")
    return not connection.unread()


async def test_who_is_looked_at_twice_loses_what_the_first_look_found_lost(
    rarely, editor, slow_looks
):
    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        rows = User.groups.through.objects.all()
        await now(lambda: rows._raw_delete(rows.db))
        await get_hub().channel.resubscribe()
        await eventually(lambda: len(slow_looks) == 1)
        await get_hub().channel.resubscribe()
        slow_looks[0].may_tell.set_result(None)
        await eventually(lambda: len(slow_looks) == 2)
        slow_looks[1].may_tell.set_result(None)
        await demoted(connection)


async def test_what_is_held_is_let_go_by_the_last_of_two_looks(rarely, configure, editor):
    configure(ROOMS={"support": {"min_role": "editor", "authorize": "tests.site.rules.by_gate"}})
    async with Connection(user=editor) as connection:
        gate = rules.gates["support"] = asyncio.Event()
        gate.set()
        await connection.subscribe("support")
        gate.clear()
        await arefresh_user(editor)
        await eventually(lambda: len(gate._waiters) == 1)
        await asend_to_room("support", "secret")
        rows = User.groups.through.objects.all()
        await now(lambda: rows._raw_delete(rows.db))
        await get_hub().channel.resubscribe()
        await eventually(
            lambda: {each.identity.role for each in get_rechecker()._subjects} == {"user"}
        )
        gate.set()
        assert (await connection.receive())["type"] == "unsubscribed"


# On the way in, to the site and to a room


@pytest.fixture
def stop_at(monkeypatch):
    """Have the next handshake wait before, or once, it has done a step: ``stop_at("join", …)``."""

    def stop_at(owner, name, is_it=lambda *args: True, *, is_after=False):
        stop = SimpleNamespace(is_reached=asyncio.Event(), go_on=asyncio.Event())
        step = getattr(owner, name)

        async def wait(*args):
            if is_it(*args) and not stop.is_reached.is_set():
                stop.is_reached.set()
                await stop.go_on.wait()

        async def stopped(*args, **kwargs):
            if not is_after:
                await wait(*args)
            result = await step(*args, **kwargs)
            if is_after:
                await wait(*args)
            return result

        monkeypatch.setattr(owner, name, stopped)
        return stop

    return stop_at


@asynccontextmanager
async def interrupted(user, stop, meanwhile):
    """A connection of ``user``; ``meanwhile()`` happened while its handshake was at ``stop``."""
    connection = opened(await Browser.of(user))
    coming_in = asyncio.create_task(connection.__aenter__())
    await stop.is_reached.wait()
    await meanwhile()
    stop.go_on.set()
    await coming_in
    try:
        yield connection
    finally:
        await connection.disconnect()


async def test_who_loses_a_role_while_its_groups_are_joined_is_in_none_of_it(
    rarely, editor, stop_at
):
    stop = stop_at(Hub, "join", lambda hub, member, group, **_: group == role_group("editor"))

    async def demote():
        async with Connection(user=editor) as fence:
            await fence.subscribe("support")
            await editor.groups.aclear()
            await demoted(fence)

    async with interrupted(editor, stop, demote) as connection:
        await looked_at(connection)
        await asend_to_role("editor", "secret")
        assert await connection.types_so_far() == []


async def test_who_loses_a_role_while_it_is_counted_in_is_counted_as_what_it_is(
    rarely, editor, stop_at
):
    stop = stop_at(slot, "admit")

    async def demote():
        await editor.groups.aclear()
        await eventually(lambda: role_group("editor") not in layer_groups())

    async with interrupted(editor, stop, demote) as connection:
        assert connection.connected["role"] == "user"
        assert (await aget_connection(connection.connection_id)).role == "user"


async def test_what_an_outage_swallows_while_somebody_comes_in_is_found(
    rarely, editor, stop_at, caplog
):
    stop = stop_at(handshake, "authenticate", is_after=True)

    async def demote():
        rows = User.groups.through.objects.all()
        await now(lambda: rows._raw_delete(rows.db))
        await get_hub().channel.resubscribe()

    async with interrupted(editor, stop, demote):
        await eventually(lambda: role_group("editor") not in layer_groups())
    assert errors_of(caplog) == []


async def test_who_loses_a_role_while_a_room_is_joined_does_not_stay_in_it(rarely, editor, stop_at):
    stop = stop_at(Hub, "join", lambda hub, member, group, **_: group == room_group("support"))
    async with Connection(user=editor) as connection:
        await connection.command("subscribe", {"room": "support"})
        await stop.is_reached.wait()
        await editor.groups.aclear()
        await eventually(lambda: role_group("editor") not in layer_groups())
        await asyncio.sleep(0)
        stop.go_on.set()
        await connection.assert_push("subscribed")
        await demoted(connection)


async def test_what_is_sent_before_word_of_the_commit_is_held(rarely, editor):
    """A message may overtake it: it is sent when the transaction is over."""

    def demote_and_send():
        with transaction.atomic():
            transaction.on_commit(lambda: send_to_room("support", "secret"))
            editor.groups.clear()

    async with Connection(user=editor) as connection:
        await connection.subscribe("support")
        await now(demote_and_send)
        await demoted(connection)
        assert await connection.types_so_far() == []


async def test_rolled_back_transaction_delays_messages_and_loses_none(rarely, editor):

    def demote_in_vain():
        with transaction.atomic():
            editor.groups.clear()
            transaction.set_rollback(True)

    impatient = application(transaction_seconds=0.1)
    async with Connection(user=editor, application=impatient) as connection:
        await connection.subscribe("support")
        await now(demote_in_vain)
        await asend_to_room("support", "news")
        await connection.assert_push("news")
