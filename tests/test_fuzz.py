"""No frame of a client raises out of the consumer."""

import asyncio
import json
import logging
import random
import re
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pm_realtime.consumers import RealtimeConsumer
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import ErrorCode, decode
from tests.fuzz import site
from tests.fuzz.connection import AsgiConnection
from tests.fuzz.targets import TARGETS, DecodeTarget, ReceiveTarget

#: Values that pass the first checks.
TYPES = ["ping", "subscribe", "unsubscribe", "message", "presence", "connected", "no such command"]
ROOMS = ["lobby", "support", "full", "page", "", "x" * 201, "\x00", "é"]

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8
)
payloads = anything | st.fixed_dictionaries(
    {},
    optional={
        "room": st.sampled_from(ROOMS) | anything,
        **dict.fromkeys(("content", "from", "state", "ttl"), anything),
    },
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(TYPES) | anything,
        "timestamp": st.integers() | anything,
        "id": st.text(max_size=5) | anything,
        "payload": payloads,
        "room": st.text(max_size=5) | anything,
        "offset": st.integers() | anything,
    },
)
well_formed = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES), "timestamp": st.integers()}, optional={"payload": payloads}
)


@st.composite
def damaged(draw):
    """A well-formed frame with a piece removed or inserted."""
    text = json.dumps(draw(well_formed))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    return text[:start] + draw(st.text(max_size=3)) + text[end:]


# With lone surrogates, as an ASGI server may pass on bytes that are not UTF-8.
any_text = st.text(st.characters(codec=None, exclude_categories=()))
frames = (
    any_text
    | st.binary()
    | damaged()
    | (anything | envelopes | well_formed).map(json.dumps)
    | (envelopes | well_formed).map(lambda envelope: json.dumps(envelope, ensure_ascii=False))
)


def warnings_of(caplog):
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture(autouse=True)
def open_rooms(configure):
    configure(
        RATE_LIMIT=None,
        ROOMS={
            "support": {"min_role": "editor"},
            "full": {"public": True, "max_connections": 1},
            "page": {"public": True, "presence": {"per": "connection", "grace": 0}},
        },
        DEFAULT_ROOM={"public": True, "publish_role": "anonymous"},
    )


def test_any_frame_gets_at_most_one_reply_and_a_ping_behind_it_is_answered(caplog):
    async def scenario(sequence):
        async with AsgiConnection() as connection:
            for frame in sequence:
                connection.send(frame)
                replies = await connection.replies()
                assert len(replies) <= 1
                assert "INTERNAL_ERROR" not in str(replies)

    with asyncio.Runner() as runner:

        @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(frames, max_size=12))
        def check(sequence):
            runner.run(scenario(sequence))
            assert warnings_of(caplog) == []

        check()


# Hostile frames


def envelope_text(**fields):
    return json.dumps({"type": "ping", "timestamp": 1, **fields})


def cut_short(chance):
    text = envelope_text(payload={"room": "lobby", "content": [1, {"a": "b"}]})
    return text[: chance.randrange(len(text))]


def no_json(chance):
    return chance.choice(
        ["{'a': 1}", "{]", "NaN", "tru", '{"a" 1}', "\x00", '"\n"', "[1,]", "\ufeff{}"]
    )


def nested(chance):
    opening, core, closing = chance.choice([("[", "", "]"), ('{"a":', "1", "}")])
    depth = chance.choice([10, 129, 1000, 9000])
    return opening * depth + core + closing * depth


def never_closed(chance):
    return chance.choice(["[", '{"a":', '[{"a":']) * chance.choice([1, 200, 10_000])


def huge_number(chance):
    number = chance.choice(["1e999", "-1e999", "1" * 5000, "1" * 60_000, "1e" + "9" * 400])
    return '{"type": "ping", "timestamp": %s}' % number  # noqa: UP031


def escaped_surrogate(chance):
    half = chance.choice(["\\ud800", "\\udfff", "\\udc00\\ud800"])
    return '{"type": "ping", "timestamp": 1, "payload": "%s"}' % half  # noqa: UP031


def raw_surrogate(chance):
    return envelope_text()[:-1] + chance.choice(["\ud800", "\udfff"]) + "}"


def wrong_field(chance):
    field = chance.choice(["type", "timestamp", "id", "room"])
    wrong = {
        "type": [None, 1, True, [], {}],
        "timestamp": [None, "1", True, [], {}],
        "id": [None, 1, False, [], {}],
        "room": [None, 1, True, [], {}],
    }
    return envelope_text(**{field: chance.choice(wrong[field])})


def no_envelope(chance):
    return chance.choice(["null", "[]", "{}", "1", '"ping"', "true", '{"type": "ping"}', "[[{}]]"])


def wrong_payload(chance):
    command = chance.choice(["subscribe", "unsubscribe", "message"])
    payload = chance.choice([None, 1, "lobby", [], ["lobby"], {}, {"Room": "lobby"}, True])
    return envelope_text(type=command, payload=payload)


def wrong_room(chance):
    command = chance.choice(["subscribe", "unsubscribe", "message"])
    room = chance.choice([None, 1, True, [], {}, "", "x" * 201, "\x00", "a\nb", "\x7f"])
    return envelope_text(type=command, payload={"room": room, "content": 1})


def unknown_type(chance):
    return envelope_text(
        type=chance.choice(["", "PING", "pong", "__class__", "x" * 60_000, "\x00"])
    )


def not_in_room(chance):
    return envelope_text(type="message", payload={"room": str(chance.random()), "content": []})


def binary(chance):
    return chance.choice([b"", b"\x00", envelope_text().encode(), chance.randbytes(50)])


def too_large(chance):
    return chance.choice([" " * 65537, "é" * 32769, b"x" * 65537, envelope_text(id="x" * 65536)])


BATCH_SIZE = 250
HOSTILE = {
    cut_short: "PARSE_ERROR",
    no_json: "PARSE_ERROR",
    never_closed: "PARSE_ERROR",
    raw_surrogate: "PARSE_ERROR",
    nested: "INVALID_MESSAGE",
    huge_number: "INVALID_MESSAGE",
    escaped_surrogate: "INVALID_MESSAGE",
    wrong_field: "INVALID_MESSAGE",
    no_envelope: "INVALID_MESSAGE",
    binary: "INVALID_MESSAGE",
    wrong_payload: "INVALID_PAYLOAD",
    wrong_room: "INVALID_ROOM",
    unknown_type: "UNKNOWN_TYPE",
    not_in_room: "NOT_IN_ROOM",
    too_large: "MESSAGE_TOO_LARGE",
}


async def test_ten_thousand_hostile_frames_get_their_errors_and_pings_are_answered(caplog):
    chance = random.Random(20_26)
    makers = [chance.choice(list(HOSTILE)) for _ in range(10_000)]
    async with AsgiConnection() as connection:
        for start in range(0, len(makers), BATCH_SIZE):
            batch = makers[start : start + BATCH_SIZE]
            sent = [maker(chance) for maker in batch]
            for frame in sent:
                connection.send(frame)
            codes = [reply["payload"].get("code") for reply in await connection.replies()]
            assert len(codes) == len(batch)
            for maker, frame, code in zip(batch, sent, codes, strict=True):
                assert code == HOSTILE[maker], (maker.__name__, frame[:100])
    assert warnings_of(caplog) == []


# The corpus of the guided fuzzing

CORPUS = sorted((Path(__file__).parent / "fuzz" / "corpus").iterdir())


def replay(target):
    with target:
        for path in CORPUS:
            target(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_of_the_corpus_get_the_expected_answers(name):
    assert len(CORPUS) > 50
    replay(TARGETS[name]())


# Faults that the targets must find


def decode_to_depth_127(frame, *, max_bytes):
    """One level less than the protocol allows."""
    command = decode(frame, max_bytes=max_bytes)
    if depth_of(json.loads(frame)) > 127:
        raise CommandError(ErrorCode.INVALID_MESSAGE, "This is nested too deep.")
    return command


def depth_of(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def decode_lone_surrogates(frame, *, max_bytes):
    if isinstance(frame, str):
        frame = re.sub(r"\\u[dD][89a-fA-F]..", "?", frame)
    return decode(frame, max_bytes=max_bytes)


async def broken(user, room, **captured):
    raise RuntimeError("broken")


def site_with(pattern, **options):
    return {**site.SETTINGS, "ROOMS": {**site.SETTINGS["ROOMS"], pattern: options}}


class WithoutPong(RealtimeConsumer):
    """Loses its replies to pings."""

    async def __call__(self, scope, receive, send):
        async def send_others(event):
            if '"pong"' not in event.get("text", ""):
                await send(event)

        await super().__call__(scope, receive, send_others)


# A target keeps its connections, and parameters are kept to the end: each is made in its test.
@pytest.mark.parametrize(
    "make_target",
    [
        partial(DecodeTarget, decode_to_depth_127),
        partial(DecodeTarget, decode_lone_surrogates),
        partial(ReceiveTarget, site_with("ticket:<int:pk>", authorize=broken)),
        partial(ReceiveTarget, site_with("news", public=True)),
        partial(ReceiveTarget, consumer=WithoutPong),
    ],
    ids=["depth", "surrogates", "exception", "publish", "no-reply"],
)
def test_targets_find_faults(make_target):
    with pytest.raises(AssertionError):
        replay(make_target())
