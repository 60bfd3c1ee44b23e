"""``info`` of a site: asked for many members at once, and slow, stuck or broken."""

import asyncio
import threading
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.utils.functional import lazy

from pm_realtime import arefresh_user
from tests.support.helpers import Connection, errors_of, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing")

ROOM = "r"

calls: list[list[str]] = []
release = threading.Event()


def first_names(users):
    """Query the database, as most do."""
    calls.append([each.username for each in users])
    found = get_user_model().objects.filter(pk__in=[each.pk for each in users])
    return {each.pk: {"first": each.first_name} for each in found}


async def first_names_async(users):
    keys = [each.pk for each in users]
    return {
        each.pk: {"first": each.first_name}
        async for each in get_user_model().objects.filter(pk__in=keys)
    }


def stuck(users):
    release.wait(5)
    return {}


async def stuck_async(users):
    await asyncio.Event().wait()


def broken(users):
    raise RuntimeError("secret inside detail")


def a_list(users):
    return [{"first": "x"}]


def a_text_each(users):
    return {each.pk: "x" for each in users}


def of_nobody(users):
    return {}


def by_texts(users):
    return {str(each.pk): {"name": "Uma"} for each in users}


def no_json(users):
    return {each.pk: {"user": each} for each in users}


class Broken(dict):
    def get(self, *args):
        raise KeyError("no such key")


def broken_dict(users):
    return Broken({each.pk: {} for each in users})


def broken_text(users):
    return {each.pk: {"text": lazy(lambda: {}["title"], str)()} for each in users}


def too_large(users):
    return {each.pk: {"text": "é" * 2048} for each in users}


def largest(users):
    return {each.pk: {"x": "é" * 2044} for each in users}


@pytest.fixture
def use(configure):
    calls.clear()
    release.clear()

    def use(name, seconds=5, **more):
        path = None if name is None else f"{__name__}.{name}"
        presence = {"info": path, **more}
        rooms = {ROOM: {"presence": presence, "public": True}}
        configure(ROOMS=rooms, AUTHORIZE_TIMEOUT=seconds, RATE_LIMIT=None)

    yield use
    release.set()


async def info_of(connection):
    """The info of ``connection`` itself in the reply to its join."""
    answer = await connection.ask("subscribe", {"room": ROOM})
    assert answer["type"] == "subscribed", answer
    found = answer["payload"]["presence"]
    (own,) = [each for each in found["members"] if each["key"] == found["me"]]
    return own["info"]


@pytest.mark.parametrize(
    ("name", "info"),
    [
        (None, {"name": "Uma User"}),
        ("first_names", {"first": "Uma"}),
        ("first_names_async", {"first": "Uma"}),
        ("of_nobody", {}),
        ("largest", {"x": "é" * 2044}),
    ],
)
async def test_info_is_what_the_site_says(use, user, name, info):
    use(name)
    async with Connection(user=user) as connection:
        assert await info_of(connection) == info


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "raised an exception"),
        ("a_list", "must return a dict by primary key, got list"),
        ("a_text_each", "must return a dict for each user, got str"),
        ("by_texts", "must return a dict by primary key, got '"),
        ("no_json", "must return what JSON can hold"),
        ("broken_dict", "must return what JSON can hold, got KeyError('no such key')"),
        ("broken_text", "must return what JSON can hold, got KeyError('title')"),
        ("too_large", "must return at most 4096 bytes for a user, got 4107. Times: 1"),
        ("missing", "expected the dotted path of a function"),
    ],
)
async def test_info_that_fails_is_logged_once_and_keeps_nobody_out(use, user, caplog, name, words):
    use(name)
    async with Connection(user=user) as first, Connection(user=user) as second:
        assert await info_of(first) == {}
        assert await info_of(second) == {}
    (record,) = errors_of(caplog)
    assert words in record.getMessage()


@pytest.mark.parametrize("name", ["stuck", "stuck_async"])
async def test_info_that_is_stuck_keeps_nobody_out_for_long(use, user, caplog, name):
    use(name, seconds=0.05)
    async with Connection(user=user) as connection:
        assert await info_of(connection) == {}
        release.set()
    assert "did not answer within 0.05 s" in caplog.text


def half_a_character(user):
    return "\ud800"


async def test_name_that_is_no_text_keeps_nobody_out(use, configure, user):
    use(None)
    configure(NAME_RESOLVER=f"{__name__}.half_a_character")
    async with Connection(user=user) as connection:
        assert await info_of(connection) == {"name": "?"}


async def test_info_is_asked_for_many_at_once(use, make_user):
    use("first_names")
    many = await sync_to_async(lambda: [make_user(username=f"user-{n}") for n in range(20)])()
    async with AsyncExitStack() as stack:
        everyone = [await stack.enter_async_context(Connection(user=each)) for each in many]
        twice = [await stack.enter_async_context(Connection(user=each)) for each in many]
        await asyncio.gather(*(info_of(each) for each in (*everyone, *twice)))
    assert len(calls) <= 4
    assert {name for names in calls for name in names} == {each.username for each in many}
    assert all(len(names) == len({*names}) for names in calls)


async def test_nobody_is_asked_about_anonymous_connections(use):
    use("first_names", per="connection")
    async with Connection() as connection:
        assert await info_of(connection) == {}
    assert calls == []


async def test_refresh_of_a_user_renews_info_for_all(use, user, editor):
    use("first_names")
    async with Connection(user=editor) as sees, Connection(user=user) as seen:
        await info_of(seen)
        await info_of(sees)
        await get_user_model().objects.filter(pk=user.pk).aupdate(first_name="Ulla")
        await arefresh_user(user)
        await sees.assert_presence(
            ROOM, members=[{"info": {"first": "Ed"}}, {"info": {"first": "Ulla"}}]
        )


async def test_info_that_fails_later_leaves_what_is_known(use, user, caplog):
    use("first_names")
    async with Connection(user=user) as connection:
        assert await info_of(connection) == {"first": "Uma"}
        use("broken")
        await arefresh_user(user)
        await eventually(lambda: errors_of(caplog))
        answer = await connection.ask("presence", {"room": ROOM})
        assert answer["payload"]["members"][0]["info"] == {"first": "Uma"}


async def test_info_that_fails_for_a_second_tab_leaves_what_is_known(use, user):
    use("first_names")
    async with Connection(user=user) as first, Connection(user=user) as second:
        await info_of(first)
        use("broken")
        assert await info_of(second) == {"first": "Uma"}
        await first.drop()
        async with first.recover() as again:
            assert again.presence(ROOM).me["info"] == {"first": "Uma"}
