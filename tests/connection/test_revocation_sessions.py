"""A connection ends with its session."""

import asyncio
import time
from pathlib import Path
from unittest import mock

import pytest
from django.contrib.auth import get_user_model, logout
from django.core.cache.backends.locmem import LocMemCache
from django.db import transaction

from pm_realtime import asend_to_user
from pm_realtime.auth import (
    sessions,
)
from tests.connection.revoking import (
    now,
    opened,
    rechecked,
    surviving,
)
from tests.support.helpers import Connection, eventually
from tests.support.sessions import ENGINES, Browser, store_of

pytestmark = pytest.mark.usefixtures("leaves_nothing")

User = get_user_model()


async def test_logout_closes_the_connections_of_its_session_only(engine, rarely, user):
    mine, other = await Browser.of(user), await Browser.of(user)
    async with opened(mine) as one, opened(mine) as two, opened(other) as stays:
        await mine.log_out()
        await one.assert_closed(4501)
        await two.assert_closed(4501)
        assert await stays.is_alive()


async def test_login_as_another_user_ends_the_session(engine, rarely, user, editor):
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        await browser.log_in_as(editor)
        await connection.assert_closed(4501)


@pytest.mark.parametrize("step", ["flush", "aflush"])
async def test_flush_of_an_unread_session_ends_it(engine, rarely, user, step):
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        store = store_of(browser.key)
        await (now(store.flush) if step == "flush" else store.aflush())
        await connection.assert_closed(4501)


async def test_rolled_back_logout_ends_what_the_engine_does_not_roll_back(engine, rarely, user):
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


async def test_second_login_of_the_same_user_ends_nothing(engine, often, user):
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        await browser.log_in_as(user)
        await rechecked(connection)
        assert await connection.is_alive()


async def test_cookie_older_than_the_installation_is_followed(rarely, settings, user):
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


async def test_session_ends_when_it_expires(engine, rarely, user):
    browser = await Browser.of(user, age=2)
    async with opened(browser) as connection:
        assert await connection.is_alive()
        await connection.assert_closed(4501)


async def test_changed_cookie_session_ends_when_it_expires(settings, rarely, user):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    browser = await Browser.of(user, age=2)
    async with opened(browser) as connection:
        await browser.change_password()
        assert await connection.is_alive()
        # Not only when a change may take no longer, 10 s.
        async with asyncio.timeout(7):
            await connection.assert_closed(4501)


async def test_renewed_session_goes_on(engine, rarely, user):
    browser, short = await Browser.of(user, age=2), await Browser.of(user, age=2)
    async with opened(browser) as connection, opened(short) as fence:
        await browser.request(lambda request: request.session.set_expiry(600))
        await fence.assert_closed(4501)
        assert await connection.is_alive()


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
        response = asyncio.create_task(mine.change_password(and_then=lambda: time.sleep(1)))
        await ends.assert_closed(4501)
        if engine != "signed_cookies":
            # Longer than the delay of the close: the browser still has the old cookie.
            await asend_to_user(user, "hello")
            await first.assert_push("hello")
        assert await first.is_alive()
        assert not response.done()
        await response
        async with surviving(engine, first, mine) as stays:
            await rechecked(stays)
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
            await rechecked(stays)
            assert await stays.is_alive()
            await browser.log_out()
            await stays.assert_closed(4501)


@pytest.mark.parametrize("allow_anonymous", [True, False])
async def test_handshake_with_a_replaced_cookie_closes_with_4013(
    configure, rarely, user, allow_anonymous
):
    """The response with the new cookie may come after the client's first attempt."""
    configure(ALLOW_ANONYMOUS=allow_anonymous)
    browser = await Browser.of(user)
    old = list(browser.headers)
    async with opened(browser) as connection:
        await browser.change_password()
        await connection.assert_closed(4013)
        await user.arefresh_from_db()
        async with opened(await Browser.of(user)):
            early = Connection(headers=old)
            await early.connect()
            await early.assert_closed(4013)
        async with opened(browser) as again:
            assert again.connected["userId"] == connection.connected["userId"]


async def test_password_changed_just_after_a_request_ends_the_session(engine, rarely, user):
    """That wrote the session, but is not about to write it again."""
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        await browser.request(lambda request: request.session.update({"cart": 1}))
        assert await connection.is_alive()
        user.set_password("another")
        await user.asave()
        async with asyncio.timeout(7):
            await connection.assert_closed(4501)


async def test_password_set_outside_the_session_ends_all_sessions(engine, rarely, user):
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
async def test_lost_session_is_found_by_the_sweep(engine, often, user):
    mine, other = await Browser.of(user), await Browser.of(user)
    async with opened(mine) as ends, opened(other) as stays:
        await mine.lose()
        await ends.assert_closed(4501)
        assert await stays.is_alive()


async def test_lost_cache_ends_no_session(often, settings, user, caplog):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        with mock.patch.object(LocMemCache, "get", side_effect=ConnectionError("it is away")):
            await recheck_failed(caplog)
            await assert_refused(browser, 4013)
        assert await connection.is_alive()
        await browser.lose()
        await connection.assert_closed(4501)


async def test_unreadable_session_file_ends_no_session(often, settings, user, caplog):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.file"
    browser = await Browser.of(user)
    async with opened(browser) as connection:
        path = Path(store_of(browser.key)._key_to_file(browser.key))
        aside, loop = path.with_name("aside"), path.with_name("loop")
        aside.hardlink_to(path)
        loop.symlink_to(path)
        loop.replace(path)
        await recheck_failed(caplog)
        await assert_refused(browser, 4013)
        aside.replace(path)
        assert await connection.is_alive()
        await browser.lose()
        await connection.assert_closed(4501)


async def recheck_failed(caplog):
    """Return when a sweep has found out nothing."""
    await eventually(lambda: "Open connections could not be rechecked." in caplog.messages)


async def assert_refused(browser, code):
    connection = opened(browser)
    assert (await connection.connect())[0]
    await connection.assert_closed(code)


@pytest.mark.parametrize("key", ["../../etc/passwd", "x" * 300, "x" * 5, "\x7f\n spaces"])
@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
async def test_malformed_session_key_is_anonymous(transactional_db, engine, key):
    browser = Browser(None)
    browser.key = key
    async with opened(browser) as connection:
        assert connection.connected["userId"] is None


async def test_password_changed_by_sql_is_found_by_the_sweep(engine, often, user):
    async with opened(await Browser.of(user)) as connection:
        await User.objects.filter(pk=user.pk).aupdate(password="unusable")
        await connection.assert_closed(4501)
