"""The end of a connection: nothing is left of it."""

import asyncio
from concurrent.futures import Future

import pytest

from pm_realtime import adisconnect_user, aget_history, aget_stats, asend_to_user, aunsubscribe
from pm_realtime.auth import Rechecker, RecheckResult, set_rechecker
from pm_realtime.backends import get_backend
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.hub import get_hub
from pm_realtime.layer import room_group, user_group
from pm_realtime.protocol import CloseCode
from tests.connection.fakes import FrozenReader, VanishingBrowser, gate
from tests.support.helpers import (
    EVENT_TIMEOUT_SECONDS,
    NO_CONNECTIONS,
    Connection,
    cookie_of,
    eventually,
    layer_groups,
    running_tasks,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def test_disconnect_leaves_nothing(user):
    tasks = running_tasks()
    async with Connection(user=user) as connection:
        await connection.subscribe("a")
        await connection.subscribe("b")
        assert {room_group("a"), room_group("b"), user_group(str(user.pk))} < set(layer_groups())
    assert await aget_stats() == NO_CONNECTIONS
    assert len(get_hub()) == 0
    assert layer_groups() == {}
    await eventually(lambda: running_tasks() == tasks)


async def cancel_in_handshake(configure, user):
    configure(BACKEND="tests.connection.fakes.PausingBackend")
    connection = Connection(headers=[await cookie_of(user)])
    await connection.connect()
    await get_backend().was_asked.wait()
    return connection


async def cancel_while_idle(configure, user):
    connection = await Connection(user=user).__aenter__()
    await connection.subscribe("a")
    return connection


async def cancel_in_command(configure, user):
    configure(ROOMS={"slow": {"authorize": "tests.connection.fakes.waits_for_gate"}})
    gate.clear()
    connection = await Connection(user=user).__aenter__()
    await connection.command("subscribe", {"room": "slow"})
    await eventually(connection.input_queue.empty)
    return connection


@pytest.mark.parametrize("prepare", [cancel_in_handshake, cancel_while_idle, cancel_in_command])
async def test_cancelled_connection_closes_with_4012_and_cleans_up(configure, user, prepare):
    connection = await prepare(configure, user)
    connection.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.future
    assert connection.future.cancelled()
    last = connection.unread()[-1]
    assert (last["type"], last["code"]) == ("websocket.close", 4012)
    assert await aget_stats() == NO_CONNECTIONS
    assert len(get_hub()) == 0
    gate.set()


async def test_second_cancellation_does_not_interrupt_the_cleaning(user):
    connection = await cancel_while_idle(None, user)
    connection.future.cancel()
    await asyncio.sleep(0)
    connection.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.future
    assert await aget_stats() == NO_CONNECTIONS


async def test_cancelled_connection_does_not_wait_for_a_frozen_reader(user):
    connection = await Connection(user=user, application=FrozenReader()).__aenter__()
    await asend_to_user(user, "big")
    await adisconnect_user(user)
    await eventually(lambda: not layer_groups())
    connection.future.cancel()
    await asyncio.wait([connection.future], timeout=EVENT_TIMEOUT_SECONDS)
    assert connection.future.done()
    assert await aget_stats() == NO_CONNECTIONS


async def test_message_in_doubt_ends_with_its_session_after_the_client_has_gone(configure, editor):
    """Neither the message, which waits until its user is certain, nor its connection stays."""
    configure(SESSION_RECHECK_INTERVAL=600, ROOMS={"support": {"min_role": "editor"}, "other": {}})
    may_recheck = Future()

    def recheck(identities):
        may_recheck.result(EVENT_TIMEOUT_SECONDS)
        return [RecheckResult(code=CloseCode.USER_GONE) for _ in identities]

    set_rechecker(Rechecker(recheck=recheck))
    browser = VanishingBrowser()
    connection = await Connection(user=editor, application=browser).__aenter__()
    await connection.subscribe("support")
    await connection.subscribe("other")
    await editor.groups.aclear()
    await connection.command("message", {"room": "support", "content": "too late"})
    await eventually(connection.input_queue.empty)
    await connection.send_input({"type": "websocket.disconnect", "code": 1006})
    await eventually(connection.input_queue.empty)
    browser.is_gone = True
    await aunsubscribe(connection.connection_id, "other")
    await eventually(lambda: browser.refused_sends)
    assert not connection.future.done()
    may_recheck.set_result(None)
    await connection.assert_ended()
    assert await aget_stats() == NO_CONNECTIONS
    assert not (await aget_history("support")).messages


async def test_failing_server_leaves_nothing(configure):
    configure(BACKEND="tests.connection.fakes.PausingBackend")
    frames = asyncio.Queue()
    fails = asyncio.Event()
    events = [{"type": "websocket.connect"}]

    async def receive():
        if events:
            return events.pop()
        await fails.wait()
        raise RuntimeError("the server is broken")

    scope = {"type": "websocket", "headers": []}
    serving = asyncio.create_task(RealtimeConsumer.as_asgi()(scope, receive, frames.put))
    await eventually(lambda: frames.qsize() == 2)
    fails.set()
    with pytest.raises(RuntimeError, match="the server is broken"):
        await serving
    assert await aget_stats() == NO_CONNECTIONS
    assert len(get_hub()) == 0
