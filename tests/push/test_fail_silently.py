"""Pushes and control messages while the channel layer is away: raised or silenced."""

import logging
import uuid

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

import pm_realtime
from pm_realtime.exceptions import OutageError, PayloadError
from tests.support.helpers import eventually

pytestmark = pytest.mark.django_db(transaction=True)

HELPERS = {
    "send_to_user": [uuid.uuid4(), "hello"],
    "send_to_room": ["lobby", "hello"],
    "send_to_role": ["user", "hello"],
    "send_to_connection": ["c", "hello"],
    "broadcast": ["hello"],
    "disconnect_user": [uuid.uuid4()],
    "disconnect_connection": ["c"],
    "subscribe": ["c", "lobby"],
    "unsubscribe": ["c", "lobby"],
    "refresh_user": [uuid.uuid4()],
    "refresh_room": ["lobby"],
}


async def call(name, **options):
    """Call a helper, in a thread if it is a sync one."""
    function, arguments = getattr(pm_realtime, name), HELPERS[name.removeprefix("a")]
    if name in HELPERS:
        return await sync_to_async(function)(*arguments, **options)
    return await function(*arguments, **options)


@pytest.fixture(params=[name for each in HELPERS for name in (each, f"a{each}")])
def helper(request):
    return request.param


async def test_helper_raises_by_default_and_not_if_it_fails_silently(far, helper, configure):
    far.is_away = True
    with pytest.raises(OutageError):
        await call(helper)
    await call(helper, fail_silently=True)
    configure(FAIL_SILENTLY=True)
    await call(helper)
    with pytest.raises(OutageError):
        await call(helper, fail_silently=False)


async def test_silenced_push_returns_its_envelope_and_is_counted(far, caplog):
    caplog.set_level(logging.DEBUG, "pm_realtime.push")
    far.is_away = True
    sent = await call("send_to_room", fail_silently=True)
    assert (sent.type, sent.room) == ("hello", "lobby")
    assert any(message.startswith("A push could not be sent: ") for message in caplog.messages)
    far.is_away = False
    await call("send_to_room")
    assert caplog.messages[-1].endswith("Pushes that could not be sent: 1.")


async def test_silenced_refresh_is_sent_when_the_layer_is_back(far):
    far.is_away = True
    await call("refresh_room", fail_silently=True)
    far.is_away = False
    await eventually(lambda: far.sent)


async def test_mistakes_of_the_caller_are_raised_also_if_a_push_fails_silently(configure):
    configure(FAIL_SILENTLY=True)
    with pytest.raises(PayloadError):
        await pm_realtime.abroadcast("hello", object(), fail_silently=True)
    with pytest.raises(ValueError, match="ROLES"):
        await pm_realtime.asend_to_role("emperor", "hello", fail_silently=True)


@pytest.mark.parametrize("options", [{}, {"fail_silently": False}])
async def test_nothing_is_raised_after_a_commit(far, options):
    far.is_away = True

    def save():
        with transaction.atomic():
            pm_realtime.send_to_room("lobby", "hello", **options)
            async_to_sync(pm_realtime.asend_to_room)("lobby", "hello", **options)

    await sync_to_async(save)()


async def test_push_before_the_commit_raises_unless_it_fails_silently(far):
    far.is_away = True

    def save(**options):
        with transaction.atomic():
            pm_realtime.send_to_room("lobby", "hello", on_commit=False, **options)

    with pytest.raises(OutageError):
        await sync_to_async(save)()
    await sync_to_async(save)(fail_silently=True)
