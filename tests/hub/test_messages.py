"""Messages of the layer, and which of them are delivered together."""

import pytest

from pm_realtime.hub.messages import MAX_BURST_BYTES, bursts
from pm_realtime.layer import group_of_push, push_message
from pm_realtime.layer.wire import CONTROL_TYPE, PUSH_TYPE


def push(text, exclude=None):
    return push_message("g", text, exclude)


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
    found = list(bursts("g", [push("x" * size) for size in sizes], 7))
    assert [len(burst.messages) for burst in found] == expected
    messages = [message for burst in found for message in burst.messages]
    assert [message.size for message in messages] == sizes
    assert [message.serial for message in messages] == list(range(8, 8 + len(sizes)))
    assert [burst.texts for burst in found] == [
        tuple(message.text for message in burst.messages) for burst in found
    ]


def test_size_is_in_bytes():
    assert [len(burst.messages) for burst in bursts("g", [push("é" * 30_000)] * 2, 0)] == [1, 1]


def test_burst_names_the_connections_that_its_messages_exclude():
    [burst] = bursts("g", [push("a", "one"), push("b"), push("c", "two")], 0)
    assert {"one", "two"} <= burst.excluded
