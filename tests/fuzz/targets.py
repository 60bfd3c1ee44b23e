"""Targets of the fuzzing. A target is called with one input after another and raises at faults."""

import asyncio
import contextlib
import logging
from collections import Counter

from channels.layers import channel_layers
from django.conf import settings
from django.test import override_settings

from pm_realtime import aget_stats, asend_to_connection
from pm_realtime.consumers import RealtimeConsumer
from pm_realtime.hub import get_hub
from pm_realtime.protocol import CloseCode, ErrorCode, decode
from tests.fuzz import site
from tests.fuzz.connection import FENCE, AsgiConnection
from tests.fuzz.oracle import check_frame, frames_of
from tests.support.helpers import eventually, log_lines

#: The role of the sender by the first byte of an input; ``r`` has a rate limit.
SENDERS = {"a": None, "u": "user", "e": "editor", "r": "user"}
#: The rooms of the observer.
OBSERVED_ROOMS = ("lobby", "full", "talk", "news")
#: The possible errors of a well-formed command.
REFUSALS = {
    ErrorCode.AUTH_REQUIRED,
    ErrorCode.FORBIDDEN,
    ErrorCode.NOT_IN_ROOM,
    ErrorCode.ROOM_LIMIT,
    ErrorCode.ROOM_FULL,
}
REPLIES = {"pong", "subscribed", "unsubscribed", "message", "error", "presence", "ack"}
FIELDS = {"type", "timestamp", "payload", "id", "room", "cursor", "replayed"}


class DecodeTarget:
    """Decodes frames with ``protocol.decode`` and ``commands.read``."""

    def __init__(self, decode=decode):
        self._decode = decode

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def __call__(self, data):
        for frame in frames_of(data[1:]):
            check_frame(frame, self._decode)


class ReceiveTarget:
    """Sends all frames over one connection, with an observer in the rooms."""

    def __init__(self, settings=site.SETTINGS, consumer=RealtimeConsumer):
        self._settings = settings
        self._consumer = consumer

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(override_settings(PM_REALTIME=self._settings, CHANNEL_LAYERS={}))
            stack.callback(channel_layers.backends.clear)
            channel_layers.backends.clear()
            self._log_lines = stack.enter_context(log_lines())
            self._runner = stack.enter_context(asyncio.Runner())
            self._runner.get_loop().set_exception_handler(log_error)
            self._observer = AsgiConnection()
            self._runner.run(self._start_observer())
            stack.callback(lambda: self._runner.run(self._observer.__aexit__()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def __call__(self, data):
        sender = chr(data[0]) if data else "a"
        self._runner.run(self._check(sender, list(frames_of(data[1:]))))
        assert not self._log_lines, self._log_lines

    async def _start_observer(self):
        await self._observer.__aenter__()
        for room in OBSERVED_ROOMS:
            self._observer.command("subscribe", room, id=room)
            assert (await self._observer.receive())["type"] == "subscribed"
        started = asyncio.all_tasks()
        # The tasks of the commands above end during another connection.
        async with AsgiConnection() as connection:
            await connection.replies()
        self._task_count = sum(not task.done() for task in started)

    async def _check(self, sender, frames):
        outcomes = [check_frame(frame) for frame in frames]
        role = SENDERS.get(sender, "user")
        is_rated = sender == "r"
        with self._rate(site.RATE if is_rated else None):
            user = role and site.make_user(role)
            async with AsgiConnection(user, self._consumer) as connection:
                for frame in frames:
                    connection.send(frame)
                replies = await received_by(connection)
                check_replies(connection, outcomes, replies, is_rated=is_rated)
                await check_rooms(connection, outcomes)
        check_messages(outcomes, await received_by(self._observer))
        assert self._observer.close_code is None
        await eventually(lambda: len(asyncio.all_tasks()) == self._task_count)
        assert len(get_hub()) == 1
        assert (await aget_stats())["roomStats"] == dict.fromkeys(OBSERVED_ROOMS, 1)

    @contextlib.contextmanager
    def _rate(self, limit):
        """Set ``RATE_LIMIT`` without Django's signal, which would replace the backend."""
        settings.PM_REALTIME = {**self._settings, "RATE_LIMIT": limit}
        try:
            yield
        finally:
            settings.PM_REALTIME = self._settings


async def received_by(connection):
    """Return the envelopes of all commands before now and of all pushes before now."""
    connection.command("unsubscribe", FENCE, id=FENCE)
    found = await connection.until(lambda each: each.get("id") == FENCE)
    if connection.close_code is not None:
        return found
    await asend_to_connection(connection.connected["payload"]["connectionId"], FENCE)
    return found + await connection.until(lambda each: each["type"] == FENCE)


def commands(outcomes, *types):
    return [each.command for each in outcomes if each.command and each.command.type in types]


def check_envelope(envelope):
    assert envelope.keys() <= FIELDS, envelope
    assert envelope["type"] in REPLIES, envelope
    assert type(envelope["timestamp"]) is int
    assert isinstance(envelope.get("id", ""), str)
    assert isinstance(envelope.get("room", ""), str)
    if envelope["type"] == "error":
        payload = envelope["payload"]
        assert payload.keys() <= {"code", "message", "room", "retryAfter", "path"}, envelope
        assert payload["code"] in list(ErrorCode), envelope


def check_replies(connection, outcomes, replies, *, is_rated):
    """Each malformed frame has its error, each command its reply, and there are no others."""
    for reply in replies:
        check_envelope(reply)
    replies = [each for each in replies if not is_change(each)]
    if is_rated and connection.close_code is not None:
        assert connection.close_code == CloseCode.RATE_LIMITED
        assert len(replies) <= len(outcomes)
        return
    assert connection.close_code is None
    refused = Counter((each.code, each.id) for each in outcomes if each.code)
    errors = Counter(
        (each["payload"]["code"], each.get("id")) for each in replies if each["type"] == "error"
    )
    assert refused <= errors, (refused, errors)
    others = errors - refused
    if is_rated:
        assert {code for code, _ in others} <= {*REFUSALS, ErrorCode.RATE_LIMITED}, others
        assert len(replies) <= len(outcomes)
    else:
        assert {code for code, _ in others} <= REFUSALS, others
        check_replies_to_commands(outcomes, replies, others.total())


def is_change(envelope):
    """Whether it tells that the members of a room have changed: that answers nothing."""
    return envelope["type"] == "presence" and "prev" in envelope["payload"]


def check_replies_to_commands(outcomes, replies, errors):
    found = Counter(each["type"] for each in replies)
    sent = Counter(each.command.type for each in outcomes if each.command)
    assert found["pong"] == sent["ping"], (found, sent)
    assert found["unsubscribed"] == sent["unsubscribe"], (found, sent)
    answered = found["subscribed"] + found["message"] + found["presence"] + found["ack"] + errors
    missing = sent["subscribe"] + sent["message"] + sent["presence"] - answered
    assert missing >= 0, (found, sent)
    # The sender gets its own message, unless it left the room before.
    silent = sum(each.id is None for each in commands(outcomes, "presence"))
    assert missing <= silent or sent["unsubscribe"], (found, sent)


async def check_rooms(connection, outcomes):
    """The connection is in no room without a subscribe, and is counted in its rooms."""
    rooms = set(connection.consumer.rooms)
    assert rooms <= {each.payload["room"] for each in commands(outcomes, "subscribe")}, rooms
    if connection.close_code is None:
        assert (await aget_stats())["roomStats"] == Counter(OBSERVED_ROOMS) + Counter(rooms)


def check_messages(outcomes, messages):
    """The observer gets only messages from well-formed commands for its rooms."""
    sent = [(each.payload, each.id) for each in commands(outcomes, "message")]
    for each in messages:
        check_envelope(each)
        payload, room = each["payload"], each["room"]
        assert each["type"] == "message", each
        assert room == payload["room"]
        assert room in OBSERVED_ROOMS[:3], room
        assert payload.keys() <= {"room", "content", "from"}
        assert any(
            (room, payload["content"], each.get("id")) == (by["room"], by["content"], id)
            for by, id in sent
        ), (each, sent)


def log_error(loop, context):
    error = context.get("exception")
    logging.getLogger("asyncio").error(context["message"], exc_info=error)


TARGETS = {"decode": DecodeTarget, "receive": ReceiveTarget}
