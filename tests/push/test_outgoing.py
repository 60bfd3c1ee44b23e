"""Messages on their way into a layer outside of this process: when they leave, and what is owed."""

import os
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from pm_realtime.exceptions import OutageError
from pm_realtime.layer import ChangePending, Control, Recheck, Refresh, RefreshRoom
from pm_realtime.push import outgoing
from tests.site.models import Note
from tests.support.helpers import errors_of, eventually

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


# What changes the rights of somebody


async def test_a_change_without_a_transaction_is_told_at_once_and_not_announced(far):
    await in_thread(lambda: outgoing.refresh_after_commit("g"))
    assert kinds_in(far) == [Refresh]


async def test_a_change_in_a_transaction_is_announced_at_once_and_told_after_the_commit(far):
    def change():
        with transaction.atomic():
            outgoing.refresh_after_commit("g")
            outgoing.refresh_after_commit("h")
            return control_in(far)

    pending = await in_thread(change)
    assert [target for target, _ in pending] == ["g", "h"]
    changes = [message.change for _, message in pending]
    assert [message for _, message in pending] == [ChangePending(each) for each in changes]
    assert control_in(far)[2:] == [("g", Refresh(changes[0])), ("h", Refresh(changes[1]))]
    assert changes[0] != changes[1]


async def test_of_a_change_that_is_rolled_back_nothing_is_told(far):
    def change_in_vain():
        with transaction.atomic():
            outgoing.refresh_after_commit("g")
            transaction.set_rollback(True)

    await in_thread(change_in_vain)
    assert kinds_in(far) == [ChangePending]


@pytest.mark.usefixtures("memory_layer")
def test_where_no_socket_can_be_reached_nothing_waits_for_a_commit(
    django_capture_on_commit_callbacks,
):
    with django_capture_on_commit_callbacks() as waiting, transaction.atomic():
        outgoing.refresh_after_commit("g")
        outgoing.send_control("g", Recheck())
    assert waiting == []


# What Redis does not take


async def test_a_parcel_that_cannot_be_sent_at_once_is_an_error(far):
    far.is_away = True
    message = outgoing.Outgoing("g", {"type": "test"}, "result", on_commit=True)
    with pytest.raises(OutageError):
        await in_thread(lambda: outgoing.send(message))
    with pytest.raises(OutageError):
        await outgoing.asend(message)


async def test_a_parcel_that_cannot_be_sent_after_the_commit_fails_nobody_and_is_counted(
    far, caplog
):

    def save():
        with transaction.atomic():
            Note.objects.create(text="saved")
            for _ in range(3):
                outgoing.send(outgoing.Outgoing("g", {"type": "test"}, None, on_commit=True))
            far.is_away = True

    await in_thread(save)
    far.is_away = False
    assert await Note.objects.acount() == 1
    await in_thread(lambda: outgoing.send(outgoing.Outgoing("g", {"type": "test"}, None, True)))
    assert caplog.messages[-1].endswith("Pushes that could not be sent: 3.")


async def test_what_is_wrong_with_the_layer_at_the_commit_is_logged_and_fails_nobody(
    settings, caplog
):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "not.installed.Layer"}}
    went_on = []

    def save():
        with transaction.atomic():
            outgoing.send(outgoing.control("g", Recheck()))
            transaction.on_commit(lambda: went_on.append(True))

    await in_thread(save)
    assert went_on == [True]
    assert len(errors_of(caplog)) == 1


async def test_only_the_refresh_of_a_change_is_sent_again(far):
    """Without the change, as nothing announced it: it delays nothing that comes after it."""
    far.is_away = True

    def change():
        with transaction.atomic():
            outgoing.refresh_after_commit("g")

    await in_thread(change)
    far.is_away = False
    await eventually(
        lambda: "pm_realtime-retry" not in {thread.name for thread in threading.enumerate()}
    )
    assert control_in(far) == [("g", Refresh())]


# Transactions of other kinds


@pytest.fixture
def second_database():
    """The alias of a database beside the default one."""
    connections.settings["second"] = {**connections.settings["default"], "NAME": ":memory:"}
    connections["second"].connect()  # Otherwise pytest-django forbids a database it does not know.
    yield "second"
    connections["second"].close()
    del connections["second"], connections.settings["second"]


def test_a_parcel_waits_for_the_transactions_of_all_databases(far, second_database):
    with transaction.atomic():
        with transaction.atomic(using=second_database):
            outgoing.send(outgoing.control("g", RefreshRoom("both")))
        assert far.sent == []
    assert control_in(far) == [("g", RefreshRoom("both"))]
    with transaction.atomic(), transaction.atomic(using=second_database):
        outgoing.send(outgoing.control("g", RefreshRoom("neither")))
        transaction.set_rollback(True, using=second_database)
    assert control_in(far) == [("g", RefreshRoom("both"))]


async def test_a_transaction_in_the_loop_itself_is_waited_for_where_django_allows_it(
    far, monkeypatch
):
    """As in a notebook."""
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with transaction.atomic():
        await outgoing.asend(outgoing.control("g", RefreshRoom("saved")))
        assert far.sent == []
    await eventually(lambda: control_in(far) == [("g", RefreshRoom("saved"))])
    connections.close_all()
