"""The spelling of control messages in the layer, which processes of version 0.1 read and send."""

import pytest

from pm_realtime.layer.wire import (
    ChangePending,
    Close,
    Control,
    CookieExpected,
    CookieRenewed,
    Recheck,
    Refresh,
    RefreshRoom,
    SessionEnded,
    SessionRekeyed,
    Subscribe,
    Unsubscribe,
    control_message,
    control_text,
    group_of_push,
    push_message,
    stream_message,
)

#: Each message with the instruction and the arguments that version 0.1 knows.
SPELLING = [
    (Close(4503, "bye"), "close", {"code": 4503, "reason": "bye"}),
    (Subscribe("a"), "subscribe", {"room": "a"}),
    (Unsubscribe("a", "full"), "unsubscribe", {"room": "a", "reason": "full"}),
    (Refresh("c"), "refresh", {"change": "c", "if_changed": False}),
    (Refresh("c", True), "refresh", {"change": "c", "if_changed": True}),
    (ChangePending("c"), "doubt", {"change": "c"}),
    (Recheck(), "recheck", {}),
    (RefreshRoom("a"), "refresh_room", {"room": "a"}),
    (SessionEnded("s"), "end_session", {"session": "s"}),
    (SessionRekeyed("s"), "move_session", {"session": "s", "key": "", "nonce": ""}),
    (CookieExpected("s"), "expect_session", {"session": "s"}),
    (
        CookieRenewed("s", "hash", 1.5),
        "renew_session",
        {"session": "s", "auth_hash": "hash", "expires_at": 1.5},
    ),
]


@pytest.mark.parametrize(("message", "instruction", "arguments"), SPELLING)
def test_control_message_is_spelled_as_in_version_0_1(message, instruction, arguments):
    sent = control_message("pm_realtime.orders", message, target="g")
    assert (sent["type"], sent["target"]) == ("pm_realtime.instruct", "g")
    assert (sent["instruction"], sent["arguments"]) == (instruction, arguments)
    assert Control.read(sent).message == message


def test_control_message_of_version_0_1_is_read():
    arguments = {"session": "s", "key": "00" * 48, "nonce": "n"}
    kind = {"type": "pm_realtime.instruct", "instruction": "move_session"}
    control = Control.read({**kind, "group": "pm_realtime.orders", "arguments": arguments})
    assert control.target == "pm_realtime.orders"
    assert control.message.session == "s"


def test_control_message_is_read_from_the_text_of_its_stream():
    sent = control_message("pm_realtime.orders", Close(4503, "bye"), target="g")
    text = control_text(sent)
    assert Control.read(text) == Control.read(sent)
    arrived = stream_message(
        "pm_realtime.orders", text, None, is_control=True, cursor="cursor", previous="previous"
    )
    control = Control.read(arrived)
    assert control == Control("pm_realtime.orders", "g", Close(4503, "bye"), "cursor", "previous")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":"news"}', "{"])
def test_text_of_another_kind_is_no_control_message(text):
    with pytest.raises(TypeError):
        Control.read(text)


def test_volatile_push_says_so_and_others_are_as_before():
    plain, volatile = (
        stream_message("g", "text", "me", is_control=False, is_volatile=is_volatile)
        for is_volatile in (False, True)
    )
    assert "volatile" not in plain
    assert volatile == {**plain, "volatile": True}
    assert group_of_push(volatile) == "g"


@pytest.mark.parametrize("cursor", [None, "cursor"])
def test_push_of_a_stream_is_a_push(cursor):
    sent = stream_message("g", "text", "me", is_control=False, cursor=cursor, previous="previous")
    assert sent == push_message("g", "text", "me", cursor, "previous")
    assert group_of_push(sent) == "g"
