"""Messages to the viewers of a room, and their times. A viewer here keeps a picture by the rule for
clients, and is always right."""

import json
import random

import pytest

from pm_realtime.backends import Mark, PresentMember, Profile, Reading
from pm_realtime.protocol import encode, make_envelope
from pm_realtime.rooms.picture import Pace, Picture


def member(key, *, since=0, connections=1, state=None, info="{}"):
    text = f'{{"userId":"{key}","info":{info}}}'
    profile = Profile(key=key, user_id=key, text=text)
    return PresentMember(profile=profile, since_ms=since, connections=connections, state=state)


def whole(rev, *members):
    return Reading(Mark(rev, rev), len(members), True, members)


def changed(rev, total, *members, left=()):
    return Reading(Mark(rev, rev), total, False, members, left)


def crowd(rev, total):
    return Reading(Mark(rev, rev), total, True, None)


def as_json(payload):
    return (
        None
        if payload is None
        else json.loads(encode(make_envelope("presence", payload)))["payload"]
    )


def keys(members):
    return [each["key"] for each in members]


class Viewer:
    """Keeps ``members`` by key, or none, as clients do; ``holes`` counts what does not fit."""

    def __init__(self, picture, *, may_see=True, own=None):
        self.may_see = may_see
        self.holes = 0
        self.messages = 0
        self._take(as_json(picture.describe(may_see=may_see, own=own)))

    def _take(self, payload):
        self.rev, self.total = payload["rev"], payload["total"]
        if "members" in payload:
            self.members = {each["key"]: each for each in payload["members"]}
        elif "joined" not in payload:
            self.members = None

    def follow(self, emission):
        payload = as_json(emission.seeing if self.may_see else emission.counting)
        if payload is None or payload["rev"] <= self.rev:
            return
        self.messages += 1
        self.holes += payload["prev"] > self.rev
        self._take(payload)
        for each in (*payload.get("joined", ()), *payload.get("updated", ())):
            self.members[each["key"]] = each
        for key in payload.get("left", ()):
            self.members.pop(key, None)


def follow(picture, reading):
    """Adopt ``reading``, and tell it."""
    picture.adopt(reading)
    return picture.emit()


def picture_of(*members, max_members=200):
    picture = Picture("r", max_members)
    picture.begin(whole(10, *members))
    return picture


def test_a_member_is_told_with_all_that_is_known_of_it():
    picture = picture_of()
    emission = follow(
        picture,
        changed(11, 1, member("ä", since=5, connections=2, state='{"t":1}', info='{"name":"A"}')),
    )
    assert as_json(emission.seeing) == {
        "room": "r",
        "rev": 11,
        "prev": 10,
        "total": 1,
        "joined": [
            {
                "key": "ä",
                "userId": "ä",
                "info": {"name": "A"},
                "since": 5,
                "connections": 2,
                "state": {"t": 1},
            }
        ],
        "updated": [],
        "left": [],
    }
    assert as_json(emission.counting) == {"room": "r", "rev": 11, "prev": 10, "total": 1}


def test_a_changed_number_of_connections_is_told_to_those_who_see_members():
    picture = picture_of(member("a"), member("b"))
    emission = follow(picture, changed(11, 2, member("a", connections=2)))
    assert keys(as_json(emission.seeing)["updated"]) == ["a"]
    assert emission.counting is None


def test_nothing_is_told_of_what_is_known():
    picture = picture_of(member("a"))
    assert not any(follow(picture, whole(12, member("a"))))
    assert not any(follow(picture, changed(13, 1)))
    assert as_json(picture.describe(may_see=True, own=None))["rev"] == 10


def test_a_whole_reading_tells_only_differences():
    picture = picture_of(member("a"), member("b"))
    emission = as_json(follow(picture, whole(12, member("b"), member("c"))).seeing)
    assert (keys(emission["joined"]), emission["updated"], emission["left"]) == (["c"], [], ["a"])


def test_revs_of_each_audience_are_a_chain():
    picture = picture_of(member("a"))
    follow(picture, changed(11, 1, member("a", connections=2)))
    emission = follow(picture, changed(12, 2, member("b")))
    assert (emission.seeing["prev"], emission.counting["prev"]) == (11, 10)


def test_a_rev_grows_even_if_that_of_the_store_does_not():
    picture = picture_of(member("a"))
    emission = follow(picture, whole(0))
    assert emission.seeing["prev"] == 10
    assert emission.seeing["rev"] > 10


def test_a_crowd_is_told_as_a_number_if_that_changes():
    picture = picture_of(member("a"), max_members=1)
    emission = follow(picture, crowd(11, 2))
    expected = {"room": "r", "rev": 11, "prev": 10, "total": 2}
    assert (as_json(emission.seeing), as_json(emission.counting)) == (expected, expected)
    assert not any(follow(picture, crowd(12, 2)))
    assert follow(picture, crowd(13, 3)).seeing["prev"] == 11
    assert "members" not in picture.describe(may_see=True, own=member("a"))
    assert picture.since is None


def test_after_a_crowd_all_members_are_told():
    picture = picture_of(max_members=1)
    follow(picture, crowd(11, 2))
    emission = as_json(follow(picture, whole(12, member("a"))).seeing)
    assert keys(emission.pop("members")) == ["a"]
    assert emission == {"room": "r", "rev": 12, "prev": 11, "total": 1}


def test_a_viewer_finds_itself_in_its_picture_before_others_do():
    picture = picture_of(member("a"))
    viewer = Viewer(picture, own=member("me", since=3))
    assert (viewer.total, [*viewer.members]) == (2, ["a", "me"])
    viewer.follow(follow(picture, changed(12, 2, member("me", since=3))))
    assert (viewer.total, [*viewer.members], viewer.holes) == (2, ["a", "me"], 0)


@pytest.mark.parametrize("may_see", [True, False])
def test_a_viewer_that_leaves_before_others_know_it_is_right_again(may_see):
    picture = picture_of(member("a"))
    viewer = Viewer(picture, may_see=may_see, own=member("me"))
    viewer.follow(follow(picture, changed(12, 1, left=["me"])))
    assert (viewer.total, viewer.members) == (1, {"a": viewer.members["a"]} if may_see else None)


def test_a_viewer_that_makes_a_crowd_gets_no_members_and_all_of_them_if_there_are_fewer_then():
    picture = picture_of(member("a"), max_members=1)
    viewer = Viewer(picture, own=member("me"))
    assert (viewer.total, viewer.members) == (2, None)
    viewer.follow(follow(picture, changed(12, 1, member("me"), left=["a"])))
    assert [*viewer.members] == ["me"]


def test_members_that_fit_into_no_message_are_a_crowd():
    large = [member(f"m{n}", info=f'{{"x":"{"é" * 1000}"}}') for n in range(600)]
    picture = picture_of(*large[:400], max_members=1000)
    viewer = Viewer(picture)
    assert len(viewer.members) == 400
    viewer.follow(follow(picture, changed(12, 600, *large[400:])))
    assert (viewer.total, viewer.members) == (600, None)
    assert Viewer(picture).members is None
    assert picture.since == Mark(12, 12)
    viewer.follow(follow(picture, changed(13, 599, member("m1"), left=["m0"])))
    assert (viewer.total, viewer.members) == (599, None)
    gone = [each.profile.key for each in large[450:]]
    viewer.follow(follow(picture, changed(14, 449, left=gone)))
    assert (viewer.total, len(viewer.members), viewer.holes) == (449, 449, 0)


@pytest.mark.parametrize("did_see", [True, False])
def test_a_change_of_rights_follows_what_was_told_last(did_see):
    picture = picture_of(member("a"))
    viewer = Viewer(picture, may_see=did_see)
    viewer.follow(follow(picture, changed(11, 2, member("b"))))
    viewer.follow(follow(picture, changed(12, 2, member("b", connections=2))))
    payload = picture.describe_change(did_see=did_see, may_see=not did_see, own=None)
    assert payload["prev"] == viewer.rev


def test_a_viewer_may_begin_to_see_and_cease():
    picture = picture_of(member("a"))
    follow(picture, changed(11, 1, member("a", connections=2)))
    viewer = Viewer(picture, may_see=False)
    for may_see in (True, False, True):
        did_see = not may_see
        payload = as_json(picture.describe_change(did_see=did_see, may_see=may_see, own=None))
        assert payload["prev"] <= viewer.rev < payload["rev"]
        viewer.may_see = may_see
        viewer._take(payload)
        assert (viewer.members is not None) is may_see
    viewer.follow(follow(picture, changed(12, 2, member("b"))))
    assert ([*viewer.members], viewer.holes) == (["a", "b"], 0)


@pytest.mark.parametrize("seed", range(30))
def test_viewers_are_right_after_each_emission_and_told_only_what_changes(seed):
    chance = random.Random(seed)
    limit = chance.choice([0, 2, 5, 100])
    room, picture, viewers = {}, Picture("r", limit), []
    picture.begin(whole(1))
    known = {}
    for rev in range(2, 100):
        for _ in range(chance.randrange(4)):
            key = chance.choice("abcdefgh")
            if key in room and chance.random() < 0.5:
                del room[key]
            else:
                # Also as it was before.
                room[key] = member(key, since=int(key == "a"), connections=chance.randrange(1, 3))
        if chance.random() < 0.3:
            own = room[chance.choice([*room])] if room and chance.random() < 0.5 else None
            viewers.append(Viewer(picture, may_see=chance.random() < 0.7, own=own))
        if len(room) > limit:
            picture.adopt(crowd(rev, len(room)))
        elif picture.since is None or chance.random() < 0.2:
            picture.adopt(whole(rev, *room.values()))
        else:
            news = [each for key, each in room.items() if known.get(key) != each]
            picture.adopt(changed(rev, len(room), *news, left=known.keys() - room.keys()))
        known = {} if len(room) > limit else dict(room)
        if chance.random() < 0.5:
            continue  # Only somebody who joined has asked.
        emission = picture.emit()
        assert not picture.has_news
        for viewer in viewers:
            viewer.follow(emission)
            assert viewer.holes == 0
            assert viewer.total == len(room)
            if viewer.may_see and len(room) <= limit:
                found = {key: each["connections"] for key, each in viewer.members.items()}
                assert found == {key: each.connections for key, each in room.items()}
            else:
                assert viewer.members is None
    assert viewers


def test_a_viewer_that_begins_between_messages_has_what_is_known():
    picture = picture_of(member("a"))
    first = Viewer(picture)
    picture.adopt(changed(11, 2, member("b"), member("c"), left=["a"]))
    second = Viewer(picture)
    assert [*second.members] == ["b", "c"]
    assert second.rev == first.rev
    # By the next message all is as it was at first.
    picture.adopt(changed(12, 1, member("a"), left=["b", "c"]))
    emission = picture.emit()
    for viewer in (first, second):
        viewer.follow(emission)
        assert ([*viewer.members], viewer.total, viewer.holes) == (["a"], 1, 0)


class TestPace:
    def test_nothing_is_wanted_at_first(self):
        assert Pace().next_at is None

    def test_a_change_is_read_at_once_and_once_more(self):
        pace = Pace(again_seconds=0.26, interval_seconds=0.28)
        pace.note_change(5)
        assert pace.next_at == 5
        pace.begin_reading(5)
        assert pace.next_at == pytest.approx(5.26)
        pace.begin_reading(5.26)
        assert pace.next_at is None

    def test_emissions_are_apart(self):
        pace = Pace(again_seconds=0.26, interval_seconds=0.28)
        pace.note_change(5)
        pace.begin_reading(5)
        pace.note_emission(5.1)
        assert pace.next_at == pytest.approx(5.38)
        pace.begin_reading(5.38)
        assert pace.next_at is None

    def test_there_are_at_most_four_a_second_whatever_comes(self):
        pace, now, emissions = Pace(), 0.0, []
        while now < 10:
            now += 0.001
            pace.note_change(now)
            if pace.next_at <= now:
                pace.begin_reading(now)
                pace.note_emission(now)
                emissions.append(now)
        assert max(sum(at <= each < at + 1 for each in emissions) for at in emissions) == 4

    def test_the_first_viewer_has_what_was_told_before_it_came(self):
        pace = Pace(again_seconds=0.26)
        pace.note_begin(5)
        assert pace.next_at == pytest.approx(5.26)
        pace.note_change(5.1)
        assert pace.next_at == 5.1
