"""The decision of a hub about each message that has arrived, by its position alone."""

import itertools
import json

import pytest

from pm_realtime.backends import Page, Position, Publication
from pm_realtime.layer import push_message
from pm_realtime.streams.group_streams import GroupStream, Label, Step, next_step
from pm_realtime.streams.messages import Message

BIRTH = str(Position(1, 0))


def cursor(number):
    return str(Position(1, number))


def message(number, previous=None):
    previous = cursor(number - 1 if previous is None else previous)
    text = json.dumps({"payload": number})
    return Message.of_push("g", push_message("g", text, None, cursor(number), previous))


def page(after, numbers, top):
    publications = [
        Publication(cursor(number), cursor(number - 1), json.dumps({"payload": number}))
        for number in numbers
    ]
    return Page.of(cursor(after), publications, cursor(top))


@pytest.fixture
def stream():
    """A stream whose members have everything up to message 3."""
    stream = GroupStream("g", 60, Label("room", None))
    stream.last = cursor(3)
    assert stream.end_reading()
    return stream


def given(accepted):
    """The numbers of messages; of a gap the number after which it goes on, as a text."""
    found = []
    for each in accepted:
        envelope = json.loads(each.text)
        if envelope.get("type") == "gap":
            assert envelope["room"] == "room"
            found.append(f"gap {Position.read(envelope['cursor']).sequence}")
        else:
            assert envelope["cursor"] == each.cursor
            found.append(envelope["payload"])
    return found


@pytest.mark.parametrize(
    ("last", "at", "previous", "step"),
    [
        (3, 3, 2, Step.DROP),
        (3, 2, 1, Step.DROP),
        (3, 4, 3, Step.DELIVER),
        (3, 5, 4, Step.FILL),
        # The store lost its last messages, and goes on from an earlier one.
        (3, 7, 2, Step.DELIVER),
        # The stream was born anew.
        (3, 9, 8, Step.FILL),
    ],
)
def test_step_follows_from_one_comparison(last, at, previous, step):
    assert next_step(cursor(last), cursor(at), cursor(previous)) is step


def test_messages_in_order_are_delivered(stream):
    assert given(stream.accept([message(4), message(5)])) == [4, 5]
    assert given(stream.accept([message(6)])) == [6]
    assert (stream.last, stream.waiting) == (cursor(6), None)


def test_message_that_members_have_is_dropped(stream):
    assert given(stream.accept([message(2), message(3), message(4), message(4)])) == [4]
    assert stream.waiting is None


def test_message_without_a_position_is_delivered(stream):
    plain = Message.of_push("g", push_message("g", '{"payload":"plain"}', None))
    assert stream.accept([plain]) == [plain]
    stream.begin_reading()
    assert stream.accept([plain]) == [plain]


def test_messages_behind_a_hole_wait_for_what_is_read(stream):
    assert given(stream.accept([message(4), message(6), message(7)])) == [4]
    assert stream.accept([message(8)]) == []
    stream.is_behind = False
    assert given(stream.accept_page(page(4, [5, 6, 7], 7), 1)) == [5, 6, 7]
    assert not stream.end_reading()
    assert given(stream.accept_waiting()) == [8]
    assert stream.end_reading()


def test_overtaken_messages_are_put_in_order(stream):
    """As with a layer that does not keep the order: no page is needed for what has arrived."""
    for order in itertools.permutations(range(4, 8)):
        stream.last, stream.waiting = cursor(3), None
        delivered = given(stream.accept([message(number) for number in order]))
        delivered += given(stream.accept_waiting())
        assert delivered == [4, 5, 6, 7]
        assert stream.end_reading()


def test_hole_that_is_not_kept_is_a_gap(stream):
    stream.accept([message(9)])
    assert given(stream.accept_page(page(3, [7, 8, 9], 9), 1)) == ["gap 6", 7, 8, 9]
    assert stream.accept_waiting() == []


def test_hole_before_a_message_that_is_lost_in_the_store_is_a_gap(stream):
    stream.accept([message(6)])
    assert given(stream.accept_page(page(3, [], 2), 1)) == ["gap 5", 6]


def test_message_that_overtakes_while_a_page_is_read_is_no_gap(stream):
    stream.begin_reading()
    stream.accept([message(5)])
    assert given(stream.accept_page(page(3, [], 3), 0)) == []
    stream.accept([message(4)])
    assert given(stream.accept_waiting()) == [4, 5]


def test_messages_that_are_too_old_to_be_read_are_a_gap(stream):
    stream.begin_reading()
    assert given(stream.accept_page(page(3, [], 8), 1)) == ["gap 8"]
    assert stream.last == cursor(8)


def test_arrived_message_stands_for_one_that_is_not_kept(stream):
    stream.accept([message(5)])
    stream.accept([message(4)])
    assert given(stream.accept_page(page(3, [6], 6), 1)) == [4, 5, 6]


def test_stream_born_anew_is_one_gap(stream):
    assert stream.accept([message(20)]) == []
    assert given(stream.accept_page(page(3, [20], 20), 1)) == ["gap 19", 20]
    assert given(stream.accept([message(21)])) == []
    assert given(stream.accept_waiting()) == [21]


def test_too_much_that_waits_is_read_later(stream, configure):
    configure(MAX_QUEUE_BYTES=300)
    stream.begin_reading()
    for number in range(5, 30):
        assert stream.accept([message(number)]) == []
    assert sum(each.size for each in stream.waiting) <= 300
    stream.is_behind = False
    assert stream.accept([message(number) for number in range(30, 40)]) == []
    assert not stream.end_reading()
    assert stream.is_behind


def test_stream_that_lost_messages_goes_on_from_its_top(stream):
    assert stream.follow_back(cursor(1)) == []
    assert given(stream.accept([message(5, previous=1)])) == [5]


def test_stream_that_lost_messages_tells_if_it_may_have_dropped_new_ones(stream):
    assert stream.accept([message(2)]) == []
    assert given(stream.follow_back(cursor(2))) == ["gap 2"]
    assert given(stream.accept([message(3)])) == [3]


def test_message_of_a_server_whose_clock_is_behind_follows_a_gap(stream):
    assert stream.follow_back(cursor(1)) == []
    # Clients have had message 3, and would take this one for it.
    assert given(stream.accept([message(2)])) == ["gap 1", 2]
    assert given(stream.accept([message(3)])) == [3]


def test_read_message_of_a_server_whose_clock_is_behind_follows_a_gap(stream):
    assert stream.follow_back(cursor(1)) == []
    stream.begin_reading()
    assert given(stream.accept_page(page(1, [2, 3, 4], 4), 0)) == ["gap 1", 2, 3, 4]
