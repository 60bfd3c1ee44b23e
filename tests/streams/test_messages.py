"""Messages of the layer, and which of them are delivered together."""

import pytest

from pm_realtime.backends import Publication
from pm_realtime.layer import group_of_push, push_message
from pm_realtime.layer.wire import CONTROL_TYPE, PUSH_TYPE
from pm_realtime.streams.messages import MAX_BURST_BYTES, Message, bursts


def push(text, exclude=None):
    return push_message("g", text, exclude)


def bursts_of(*pushes):
    return list(bursts(Message.of_push("g", each) for each in pushes))


@pytest.mark.parametrize(
    "message",
    [
        {"type": CONTROL_TYPE, "group": "g", "instruction": "close"},
        {"type": PUSH_TYPE, "group": "g"},
        {"type": PUSH_TYPE, "group": "g", "text": b"bytes"},
        {"type": PUSH_TYPE, "text": "no group"},
        {"text": "no type"},
        {},
        None,
        "text",
    ],
)
def test_other_messages_have_no_group_of_a_push(message):
    assert group_of_push(message) is None


def test_push_has_a_group():
    assert group_of_push(push("text")) == "g"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1], [1]),
        ([1, 2, 3], [3]),
        ([MAX_BURST_BYTES // 2] * 5, [2, 2, 1]),
        ([1, MAX_BURST_BYTES + 1, 1], [1, 1, 1]),
        ([MAX_BURST_BYTES - 1, 1, 1], [2, 1]),
    ],
)
def test_pushes_are_delivered_together_up_to_a_size(sizes, expected):
    found = bursts_of(*(push("x" * size) for size in sizes))
    assert [len(burst.messages) for burst in found] == expected
    messages = [message for burst in found for message in burst.messages]
    assert [message.size for message in messages] == sizes
    assert [burst.texts for burst in found] == [
        tuple(message.text for message in burst.messages) for burst in found
    ]


def test_size_is_in_bytes():
    assert [len(burst.messages) for burst in bursts_of(*[push("é" * 30_000)] * 2)] == [1, 1]


def test_burst_names_the_connections_that_its_messages_exclude():
    [burst] = bursts_of(push("a", "one"), push("b"), push("c", "two"))
    assert {"one", "two"} <= burst.excluded


def test_position_of_a_push_is_put_into_its_text():
    arrived = push_message("g", '{"type":"é"}', "me", "cursor", "previous")
    message = Message.of_push("g", arrived)
    assert message.text == '{"type":"é","cursor":"cursor"}'
    assert message.size == len(message.text.encode())
    assert (message.exclude, message.cursor, message.previous) == ("me", "cursor", "previous")
    read = Message.of_stream("g", Publication("cursor", "previous", '{"type":"é"}', "me"))
    assert read == message
