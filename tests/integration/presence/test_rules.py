"""The rules by which the other tests of this folder judge."""

import pytest

from tests.integration.presence.picture import Event, Picture
from tests.integration.presence.truth import TOLD_SECONDS, Truth

GRACE_SECONDS = 10
MEMBER = ("lobby", "ada")


def member(key, connections=1, **more):
    return {"key": key, "userId": key, "info": {}, "since": 1, "connections": connections, **more}


def changes(rev, prev, total, *, joined=(), updated=(), left=()):
    parts = {"joined": [*joined], "updated": [*updated], "left": [*left]}
    return {"room": "lobby", "rev": rev, "prev": prev, "total": total, **parts}


@pytest.fixture
def picture():
    picture = Picture("lobby")
    picture.begin({"rev": 10, "total": 1, "members": [member("ada")], "me": "ada"})
    assert not picture.take(changes(20, 10, 1, updated=[member("ada", 2)]), 0)
    return picture


@pytest.fixture
def truth():
    return Truth({"lobby": GRACE_SECONDS})


def is_flicker(truth, at, kind):
    return bool([*truth.flickers("lobby", [Event(at, at, kind, "ada")])])


def kinds(picture):
    return [(event.kind, event.key) for event in picture.events]


def test_changes_are_applied_and_noted(picture):
    assert not picture.take(changes(30, 20, 1, joined=[member("bob")], left=["ada"]), 0)
    assert (picture.members, picture.total) == ({"bob": member("bob")}, 1)
    assert kinds(picture) == [("update", "ada"), ("join", "bob"), ("leave", "ada")]
    assert picture.faults == []


def test_hole_is_a_question_and_only_differences_are_events(picture):
    assert picture.take(changes(40, 30, 2, joined=[member("eve")]), 0)
    picture.answer({"rev": 40, "total": 2, "members": [member("ada", 2), member("eve")]})
    assert kinds(picture) == [("update", "ada"), ("join", "eve")]
    assert (picture.holes, picture.faults) == (1, [])


def test_old_message_is_ignored(picture):
    assert not picture.take(changes(20, 10, 0, left=["ada"]), 0)
    assert picture.total == 1


@pytest.mark.parametrize(
    "payload",
    [
        changes(30, 20, 2, joined=[member("ada")]),
        changes(30, 20, 1, updated=[member("bob")]),
        changes(30, 20, 7, left=["ada"]),
        changes(30, 20, 1),
        changes(30, 20, 1, updated=[member("ada", 0)]),
        {**changes(30, 20, 0, left=["ada"]), "more": 1},
    ],
)
def test_wrong_message_is_a_fault(picture, payload):
    picture.take(payload, 0)
    assert picture.faults


def test_return_within_the_grace_is_one_arrival(truth):
    page = object()
    truth.enter(MEMBER, page, 100, 100.1)
    truth.lose(MEMBER, page, 120)
    truth.enter(MEMBER, page, 125, 125.1)
    assert truth.arrivals(MEMBER) == (1, 1)
    assert truth.expected("lobby") == {"ada": 1}
    assert is_flicker(truth, 124, "leave")


def test_return_after_the_grace_is_another_one(truth):
    page = object()
    truth.enter(MEMBER, page, 100, 100.1)
    truth.lose(MEMBER, page, 120)
    truth.enter(MEMBER, page, 150, 150.1)
    assert truth.arrivals(MEMBER) == (2, 2)
    left_at = 120 + GRACE_SECONDS + 0.1
    assert not is_flicker(truth, left_at, "leave")
    assert is_flicker(truth, 145, "join")
    assert not is_flicker(truth, 150.2, "join")


def test_leaving_at_once_ends_the_grace_of_other_pages(truth):
    one, two = object(), object()
    truth.enter(MEMBER, one, 100, 100.1)
    truth.enter(MEMBER, two, 100, 100.1)
    truth.lose(MEMBER, one, 120)
    truth.leave(MEMBER, two, 124, 124.1)
    assert truth.sure(MEMBER) == [(100.1, 124)]
    assert truth.possible(MEMBER) == [(100, 124.1 + TOLD_SECONDS)]


def test_departure_of_a_member_that_was_not_told_is_a_visit(picture, truth):
    picture.take(changes(30, 20, 1, left=["bob"]), 0)
    assert kinds(picture)[1:] == [("visit", "bob")]
    assert picture.faults == []
    truth.enter(MEMBER, page := object(), 100, 100.1)
    truth.leave(MEMBER, page, 100.2, 100.3)
    assert not is_flicker(truth, 100.5, "visit")
    assert is_flicker(truth, 110, "visit")


def test_page_that_may_have_entered_counts_as_perhaps_there(truth):
    truth.attempt(MEMBER, object(), 100, 103, 1)
    assert truth.arrivals(MEMBER) == (0, 1)
