"""Outgoing messages over a layer outside of this process: commits and outages."""

import asyncio
import os
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from pm_realtime import aget_history, asend_to_room
from pm_realtime.backends.memory_streams import MemoryStreams
from pm_realtime.exceptions import OutageError
from pm_realtime.layer import (
    ChangePending,
    Control,
    Recheck,
    Refresh,
    RefreshRoom,
    room_group,
)
from pm_realtime.push import arefresh_room, refresh_after_commit, refresh_room, send_control
from pm_realtime.push.outgoing import Direct, Outgoing, asend, send
from tests.site.models import Note
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, errors_of, eventually

pytestmark = pytest.mark.django_db(transaction=True)


def control_in(layer):
    """The control messages that were sent, each with its target."""
    found = [Control.read(message) for _, message in layer.sent if "target" in message]
    return [(each.target, each.message) for each in found]


def kinds_in(layer):
    return [type(message) for _, message in control_in(layer)]


def in_thread(function):
    """Run sync code that uses the database as a view would."""
    return sync_to_async(function)()


# Refreshes of access rights


async def test_refresh_without_a_transaction_is_sent_at_once(far):
    await in_thread(lambda: refresh_after_commit("g"))
    assert kinds_in(far) == [Refresh]


async def test_refresh_in_a_transaction_follows_a_pending_change(far):
    def change():
        with transaction.atomic():
            refresh_after_commit("g")
            refresh_after_commit("h")
            return control_in(far)

    pending = await in_thread(change)
    assert [target for target, _ in pending] == ["g", "h"]
    changes = [message.change for _, message in pending]
    assert [message for _, message in pending] == [ChangePending(each) for each in changes]
    assert control_in(far)[2:] == [("g", Refresh(changes[0])), ("h", Refresh(changes[1]))]
    assert changes[0] != changes[1]


async def test_rolled_back_change_sends_no_refresh(far):
    def change_in_vain():
        with transaction.atomic():
            refresh_after_commit("g")
            transaction.set_rollback(True)

    await in_thread(change_in_vain)
    assert kinds_in(far) == [ChangePending]


@pytest.mark.usefixtures("memory_layer")
def test_no_callback_waits_for_the_commit_if_no_socket_can_be_reached(
    django_capture_on_commit_callbacks,
):
    with django_capture_on_commit_callbacks() as waiting, transaction.atomic():
        refresh_after_commit("g")
        send_control("g", Recheck())
    assert waiting == []


# Outages


async def test_failure_to_send_at_once_raises(far):
    far.is_away = True
    message = Outgoing(Direct("g", {"type": "test"}), "result", on_commit=True)
    with pytest.raises(OutageError):
        await in_thread(lambda: send(message))
    with pytest.raises(OutageError):
        await asend(message)


async def test_failure_to_send_after_the_commit_is_counted_and_does_not_raise(far, caplog):

    def save():
        with transaction.atomic():
            Note.objects.create(text="saved")
            for _ in range(3):
                send(Outgoing(Direct("g", {"type": "test"}), None, on_commit=True))
            far.is_away = True

    await in_thread(save)
    far.is_away = False
    assert await Note.objects.acount() == 1
    await in_thread(lambda: send(Outgoing(Direct("g", {"type": "test"}), None, True)))
    assert caplog.messages[-1].endswith("Pushes that could not be sent: 3.")


async def test_broken_layer_after_the_commit_is_logged_and_does_not_raise(settings, caplog):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "not.installed.Layer"}}
    went_on = []

    def save():
        with transaction.atomic():
            refresh_room("a")
            transaction.on_commit(lambda: went_on.append(True))

    await in_thread(save)
    assert went_on == [True]
    assert len(errors_of(caplog)) == 1


async def test_refresh_is_sent_again_without_its_pending_change(far):
    """Without the id of the change: no pending change went out with it, so nothing waits for it."""
    far.is_away = True

    def change():
        with transaction.atomic():
            refresh_after_commit("g")

    await in_thread(change)
    far.is_away = False
    await eventually(
        lambda: "pm_realtime-retry" not in {thread.name for thread in threading.enumerate()}
    )
    assert control_in(far) == [("g", Refresh())]


# Several databases, and transactions in the event loop


@pytest.fixture
def second_database():
    """The alias of a database beside the default one."""
    connections.settings["second"] = {**connections.settings["default"], "NAME": ":memory:"}
    connections["second"].connect()  # Otherwise pytest-django forbids a database it does not know.
    yield "second"
    connections["second"].close()
    del connections["second"], connections.settings["second"]


def test_message_waits_for_the_transactions_of_all_databases(far, second_database):
    with transaction.atomic():
        with transaction.atomic(using=second_database):
            refresh_room("both")
        assert far.sent == []
    assert control_in(far) == [(room_group("both"), RefreshRoom("both"))]
    with transaction.atomic(), transaction.atomic(using=second_database):
        refresh_room("neither")
        transaction.set_rollback(True, using=second_database)
    assert control_in(far) == [(room_group("both"), RefreshRoom("both"))]


async def test_message_waits_for_a_transaction_in_the_event_loop(far, monkeypatch):
    """``DJANGO_ALLOW_ASYNC_UNSAFE``, as in a notebook."""
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with transaction.atomic():
        await arefresh_room("saved")
        assert far.sent == []
    await eventually(lambda: control_in(far) == [(room_group("saved"), RefreshRoom("saved"))])
    connections.close_all()


class FirstIsSlow(MemoryStreams):
    """Its first message takes some turns of the event loop, as over a socket that is new."""

    is_first = True

    async def publish(self, message):
        was_first, self.is_first = self.is_first, False
        for _ in range(10 * was_first):
            await asyncio.sleep(0)
        return await super().publish(message)


async def test_pushes_of_a_transaction_in_the_event_loop_are_in_order(own_streams, monkeypatch):
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    own_streams(FirstIsSlow())
    with transaction.atomic():
        for number in range(5):
            await asend_to_room("open", "news", number)

    async def payloads():
        return [each["payload"] for each in (await aget_history("open")).messages]

    async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
        while len(found := await payloads()) < 5:
            await asyncio.sleep(0)
    assert found == [*range(5)]
    connections.close_all()
