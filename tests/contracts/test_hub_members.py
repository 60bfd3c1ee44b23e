"""The contract between a hub and its members, the tests' fake included."""

import asyncio
import inspect
import itertools
import json
import time
from contextlib import AsyncExitStack

import pytest

from pm_realtime.connection import RealtimeConsumer
from pm_realtime.hub import Sender, get_hub
from pm_realtime.layer import (
    ChangePending,
    Close,
    CookieExpected,
    CookieRenewed,
    Recheck,
    Refresh,
    RefreshRoom,
    SessionEnded,
    SessionRekeyed,
    Subscribe,
    Unsubscribe,
)
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, Connection, eventually
from tests.support.hubs import Member, send
from tests.support.sessions import Browser

pytestmark = pytest.mark.usefixtures("leaves_nothing")

CONTROL_MESSAGES = [
    ChangePending("change"),
    Close(4503, "reason"),
    CookieExpected("session"),
    CookieRenewed("session", "hash", 0.0),
    Recheck(),
    Refresh(),
    RefreshRoom("room"),
    SessionEnded("session"),
    SessionRekeyed("session"),
    Subscribe("room"),
    Unsubscribe("room"),
]
KINDS = {
    "consumer": None,
    "batching consumer": "pm-realtime.v1.batch",
    "consumer with its own deliver": None,
    "fake": Member,
}
CONSUMERS = [kind for kind in KINDS if "consumer" in kind]
every_member = pytest.mark.parametrize("kind", KINDS)
every_consumer = pytest.mark.parametrize("kind", CONSUMERS)


def text(number):
    return json.dumps({"type": "news", "payload": number, "timestamp": 0})


class Subject:
    """A member, and what it was sent."""

    def __init__(self, member, connection=None):
        self.member = member
        self.connection = connection

    async def received(self, count):
        """The numbers of the first ``count`` texts."""
        if self.connection is not None:
            return [(await self.connection.receive())["payload"] for _ in range(count)]
        return [json.loads(each)["payload"] for each in getattr(self.member, "received", [])]


@pytest.fixture
async def make(user):
    """``await make(kind)``: a subject; all consumers are of one user and session."""
    browser = await Browser.of(user)
    numbers = itertools.count()
    async with AsyncExitStack() as stack:

        async def make(kind):
            if kind not in CONSUMERS:
                return Subject(KINDS[kind](f"member {next(numbers)}"))
            consumers = []

            class Consumer(RealtimeConsumer):
                async def __call__(self, *args):
                    consumers.append(self)
                    await super().__call__(*args)

            class WithOwnDeliver(Consumer):
                def deliver(self, text):
                    return super().deliver(text)

            consumer = WithOwnDeliver if "own deliver" in kind else Consumer
            protocols = [KINDS[kind]] if KINDS[kind] else None
            connection = Connection(
                headers=browser.headers, application=consumer.as_asgi(), subprotocols=protocols
            )
            await stack.enter_async_context(connection)
            return Subject(consumers[0], connection)

        yield make


@pytest.fixture
async def subject(make, kind):
    return await make(kind)


@every_member
async def test_connection_id_is_text_and_stays_the_same(subject):
    before = subject.member.connection_id
    assert isinstance(before, str)
    assert before
    subject.member.deliver(text(1))
    assert subject.member.connection_id == before


@every_member
async def test_texts_are_delivered_in_order(subject):
    for number in range(100):
        subject.member.deliver(text(number))
    assert await subject.received(100) == list(range(100))


@every_member
async def test_deliver_all_equals_deliver_in_turn(make, kind):
    one, other = await make(kind), await make(kind)
    one.member.deliver(text(0))
    other.member.deliver(text(0))
    texts = tuple(text(number) for number in range(1, 20))
    for each in texts:
        one.member.deliver(each)
    other.member.deliver_all(texts)
    received = await one.received(20)
    assert await other.received(20) == received == list(range(20))


@every_member
async def test_volatile_texts_are_delivered_in_order_if_there_is_room(subject):
    sender = Sender("g", "other")
    for number in range(0, 30, 3):
        subject.member.deliver_volatile((text(number), text(number + 1)), (sender, sender))
        subject.member.deliver(text(number + 2))
    assert await subject.received(30) == list(range(30))


@every_member
@pytest.mark.parametrize("message", CONTROL_MESSAGES, ids=lambda each: type(each).__name__)
async def test_control_message_neither_waits_nor_raises(subject, message):
    assert not inspect.iscoroutinefunction(subject.member.receive_control)
    assert subject.member.receive_control(message) is None
    subject.member.deliver(text(1))
    subject.member.deliver_all((text(2), text(3)))


@every_member
async def test_old_deadline_ends_nothing(subject):
    subject.member.check_heartbeat(time.monotonic() - 1000)
    subject.member.deliver(text(1))
    assert await subject.received(1) == [1]


@every_member
async def test_missed_deadline_does_not_raise(subject):
    subject.member.check_heartbeat(time.monotonic() + 1000)
    subject.member.deliver(text(1))


@every_consumer
async def test_consumer_that_has_pinged_ends_at_its_deadline(subject):
    assert await subject.connection.is_alive()
    subject.member.check_heartbeat(time.monotonic() + 1000)
    await subject.connection.assert_closed(4001)


@every_member
async def test_member_without_waiting_messages_is_drained(subject):
    async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
        await subject.member.until_drained()


@pytest.mark.parametrize("kind", [*CONSUMERS, "fake"])
async def test_hub_delivers_to_its_members_in_order(subject, kind):
    hub = get_hub()
    if kind not in CONSUMERS:
        await hub.add(subject.member)
    await hub.join(subject.member, "g")
    watcher = Member("watcher")
    await hub.add(watcher)
    await hub.join(watcher, "g")
    for number in range(50):
        await send("g", text(number))
    await send("g", text(50), exclude=subject.member.connection_id)
    await eventually(lambda: len(watcher.received) == 51)
    assert await subject.received(50) == list(range(50))
    await hub.leave(subject.member, "g")
    for member in (watcher, subject.member):
        await hub.remove(member)
