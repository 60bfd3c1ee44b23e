"""What is fuzzed: a target takes one input after the other and raises where something is wrong."""

import asyncio
import contextlib
import logging
from collections import Counter

from channels.layers import channel_layers
from django.conf import settings
from django.test import override_settings

from pm_realtime import aget_stats, asend_to_connection
from pm_realtime.hub import get_hub
from pm_realtime.protocol import CloseCode, ErrorCode
from tests.fuzz import site
from tests.fuzz.oracle import frames_of, judge
from tests.fuzz.wire import FENCE, Wire
from tests.support.helpers import complaints, eventually

#: Who sends, by the first byte of an input; ``r`` is held to a rate.
SENDERS = {"a": None, "u": "user", "e": "editor", "r": "user"}
#: The rooms in which the witness sits.
WATCHED = ("lobby", "full", "talk", "news")
#: What may answer a well-formed command with an error.
REFUSALS = {
    ErrorCode.AUTH_REQUIRED,
    ErrorCode.FORBIDDEN,
    ErrorCode.NOT_IN_ROOM,
    ErrorCode.ROOM_LIMIT,
    ErrorCode.ROOM_FULL,
}
REPLIES = {"pong", "subscribed", "unsubscribed", "message", "error"}
FIELDS = {"type", "timestamp", "payload", "id", "room"}


class DecodeTarget:
    """The pure part of the frame path: ``protocol.decode`` and ``handlers.check_form``."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def __call__(self, data):
        for frame in frames_of(data[1:]):
            judge(frame)


class ReceiveTarget:
    """A connection from its first frame to its end, with a witness in the rooms beside it."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(override_settings(PM_REALTIME=site.SETTINGS, CHANNEL_LAYERS={}))
            stack.callback(channel_layers.backends.clear)
            channel_layers.backends.clear()
            self._complaints = stack.enter_context(complaints())
            self._runner = stack.enter_context(asyncio.Runner())
            self._runner.get_loop().set_exception_handler(log_error)
            self._witness = Wire()
            self._runner.run(self._seat_witness())
            stack.callback(lambda: self._runner.run(self._witness.__aexit__()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def __call__(self, data):
        sender = chr(data[0]) if data else "a"
        self._runner.run(self._check(sender, list(frames_of(data[1:]))))
        assert not self._complaints, self._complaints

    async def _seat_witness(self):
        await self._witness.__aenter__()
        for room in WATCHED:
            self._witness.command("subscribe", room, id=room)
            assert (await self._witness.receive())["type"] == "subscribed"
        await eventually(lambda: not self._witness.is_working)
        self._tasks = len(asyncio.all_tasks())

    async def _check(self, sender, frames):
        verdicts = [judge(frame) for frame in frames]
        role = SENDERS.get(sender, "user")
        with rate(site.RATE if sender == "r" else None):
            async with Wire(role and site.make_user(role)) as wire:
                for frame in frames:
                    wire.send(frame)
                check_replies(wire, verdicts, await until_quiet(wire), is_rated=sender == "r")
                await check_rooms(wire, verdicts)
        check_seen(verdicts, await until_quiet(self._witness))
        assert self._witness.close_code is None
        await eventually(lambda: len(asyncio.all_tasks()) == self._tasks)
        assert len(get_hub()) == 1
        assert (await aget_stats())["roomStats"] == dict.fromkeys(WATCHED, 1)


@contextlib.contextmanager
def rate(limit):
    """Set ``RATE_LIMIT`` without Django's signal, upon which the backend would be made anew."""
    settings.PM_REALTIME = {**site.SETTINGS, "RATE_LIMIT": limit}
    try:
        yield
    finally:
        settings.PM_REALTIME = site.SETTINGS


async def until_quiet(wire):
    """All that came up to now: once all commands are done, and the layer has brought all."""
    wire.command("unsubscribe", FENCE, id=FENCE)
    found = await wire.until(lambda each: each.get("id") == FENCE)
    if wire.close_code is not None:
        return found
    await asend_to_connection(wire.connected["payload"]["connectionId"], FENCE)
    return found + await wire.until(lambda each: each["type"] == FENCE)


def commands(verdicts, *types):
    return [each.command for each in verdicts if each.command and each.command.type in types]


def check_envelope(envelope):
    assert envelope.keys() <= FIELDS, envelope
    assert envelope["type"] in REPLIES, envelope
    assert type(envelope["timestamp"]) is int
    assert isinstance(envelope.get("id", ""), str)
    assert isinstance(envelope.get("room", ""), str)
    if envelope["type"] == "error":
        payload = envelope["payload"]
        assert payload.keys() <= {"code", "message", "room", "retryAfter"}, envelope
        assert payload["code"] in list(ErrorCode), envelope


def check_replies(wire, verdicts, replies, *, is_rated):
    """Each malformed frame has its error, each command its answer, and nothing else came."""
    for reply in replies:
        check_envelope(reply)
    if is_rated and wire.close_code is not None:
        assert wire.close_code == CloseCode.RATE_LIMITED
        assert len(replies) <= len(verdicts)
        return
    assert wire.close_code is None
    refused = Counter((each.code, each.id) for each in verdicts if each.code)
    errors = Counter(
        (each["payload"]["code"], each.get("id")) for each in replies if each["type"] == "error"
    )
    assert refused <= errors, (refused, errors)
    others = errors - refused
    if is_rated:
        assert {code for code, _ in others} <= {*REFUSALS, ErrorCode.RATE_LIMITED}, others
        assert len(replies) <= len(verdicts)
    else:
        assert {code for code, _ in others} <= REFUSALS, others
        check_answers(verdicts, replies, others.total())


def check_answers(verdicts, replies, errors):
    found = Counter(each["type"] for each in replies)
    asked = Counter(each.command.type for each in verdicts if each.command)
    assert found["pong"] == asked["ping"], (found, asked)
    assert found["unsubscribed"] == asked["unsubscribe"], (found, asked)
    answered = found["subscribed"] + found["message"] + errors
    missing = asked["subscribe"] + asked["message"] - answered
    assert missing >= 0, (found, asked)
    # One's own message comes back, unless the room was left before it could.
    assert missing == 0 or asked["unsubscribe"], (found, asked)


async def check_rooms(wire, verdicts):
    """The connection is in rooms that it asked for, in no other, and is counted there."""
    rooms = set(wire.consumer.rooms)
    assert rooms <= {each.payload["room"] for each in commands(verdicts, "subscribe")}, rooms
    if wire.close_code is None:
        assert (await aget_stats())["roomStats"] == Counter(WATCHED) + Counter(rooms)


def check_seen(verdicts, seen):
    """Others see what a well-formed message said to their room, and nothing else."""
    said = [(each.payload, each.id) for each in commands(verdicts, "message")]
    for each in seen:
        check_envelope(each)
        payload, room = each["payload"], each["room"]
        assert each["type"] == "message", each
        assert room == payload["room"]
        assert room in WATCHED[:3], room
        assert payload.keys() <= {"room", "content", "from"}
        assert any(
            (room, payload["content"], each.get("id")) == (by["room"], by["content"], id)
            for by, id in said
        ), (each, said)


def log_error(loop, context):
    error = context.get("exception")
    logging.getLogger("asyncio").error(context["message"], exc_info=error)


TARGETS = {"decode": DecodeTarget, "receive": ReceiveTarget}
