"""The tests of the contract in ``pm_realtime/backends/presence.py``, for every store.

A test class of a store inherits from :class:`PresenceContract` and has the fixtures ``store`` (a
fresh store), ``others`` (the same store in another process, or ``store`` if it has only one) and
``pass_time`` (an async function of seconds). A connection leaves in the process that it entered.
"""

import asyncio
import json
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from pm_realtime.backends import (
    TELL_INTERVAL_SECONDS,
    Departure,
    Exit,
    Mark,
    PresenceStore,
    PresentMember,
    Profile,
    Sweep,
)
from pm_realtime.backends.presence import LEFT_TTL_SECONDS
from tests.contracts.presence_model import histories, replay

ROOM = "support:1"
GRACE_SECONDS = 0.3
LONG_SECONDS = 60
ALL = sys.maxsize


def profile(key="ann", *, user_id=None, name="Ann"):
    """The profile of a user, whose key it is, unless another ``user_id`` is given."""
    user_id = key if user_id is None else user_id
    text = json.dumps({"userId": user_id, "info": {"name": name}}, ensure_ascii=False)
    return Profile(key=key, user_id=user_id, text=text)


async def enter(store, connection_id, key="ann", room=ROOM, *, grace=GRACE_SECONDS, former=()):
    return await store.enter(
        connection_id, room, profile(key), grace_seconds=grace, former_ids=former
    )


async def enter_all(store, *connection_ids, key="ann", room=ROOM, grace=GRACE_SECONDS):
    for connection_id in connection_ids:
        await enter(store, connection_id, key, room, grace=grace)


async def lose(store, *connection_ids, room=ROOM):
    """Connections leave with grace, which changes nothing at once."""
    for connection_id in connection_ids:
        assert await store.leave(connection_id, room, is_at_once=False) == Exit()


async def shown(store, room=ROOM):
    """By key: the number of connections that are shown."""
    picture = await store.read(room, None, ALL)
    assert picture.is_whole
    assert picture.total == len(picture.members)
    return {member.profile.key: member.connections for member in picture.members}


async def mark_of(store, room=ROOM):
    return (await store.read(room, None, 0)).mark


async def rev_of(store, room=ROOM):
    return (await mark_of(store, room)).rev


async def state_of(store, key="ann", room=ROOM):
    members = (await store.read(room, None, ALL)).members
    return next(member.state for member in members if member.profile.key == key)


async def changes(store, mark, room=ROOM, limit=ALL):
    """The changes after a mark: numbers of connections by key, and keys that left."""
    picture = await store.read(room, mark, limit)
    assert not picture.is_whole
    found = {member.profile.key: member.connections for member in picture.members}
    return found, sorted(picture.left)


async def sweep_once(store):
    sweep = await store.sweep()
    assert not sweep.arrivals
    return Sweep(tuple(sweep.departures), tuple(sweep.rooms), sweep.next_seconds)


async def sweep_all(store):
    """Sweep until nothing is due; the departures by key, and the rooms to tell."""
    departures, rooms = [], []
    while True:
        sweep = await store.sweep()
        departures += sweep.departures
        rooms += sweep.rooms
        if not sweep.departures and (sweep.next_seconds is None or sweep.next_seconds > 0):
            return {departure.key: departure for departure in departures}, rooms


class PresenceContract:
    def test_is_a_store(self, store):
        assert isinstance(store, PresenceStore)

    # --- arriving

    async def test_room_of_nobody_is_empty(self, store):
        picture = await store.read(ROOM, None, ALL)
        assert (picture.mark.rev, picture.total, list(picture.members)) == (0, 0, [])
        assert await sweep_once(store) == Sweep()
        assert await store.find_keys(ROOM, "ann") == []
        assert await store.find_key(ROOM, "a") is None

    async def test_first_connection_of_a_member_arrives(self, store, others):
        entry = await enter(store, "a")
        assert entry == (entry.member, True, True)
        assert entry.member == PresentMember(
            profile=profile(), since_ms=entry.member.since_ms, connections=1, state=None
        )
        picture = await others.read(ROOM, None, ALL)
        assert (picture.total, picture.is_whole, picture.left) == (1, True, ())
        assert list(picture.members) == [entry.member]
        assert picture.mark.rev >= entry.member.since_ms * 1000

    async def test_tabs_are_connections_of_one_member(self, store, others):
        first = await enter(store, "tab 1")
        for number in range(2, 6):
            entry = await enter((store, others)[number % 2], f"tab {number}")
            assert (entry.has_arrived, entry.member.connections) == (False, number)
            assert entry.member.since_ms == first.member.since_ms
        assert await shown(store) == {"ann": 5}

    async def test_entering_again_changes_nothing(self, store):
        await enter(store, "a")
        before = await rev_of(store)
        for _ in range(3):
            entry = await enter(store, "a")
            assert entry == (entry.member, False, False)
            assert entry.member.connections == 1
        assert await rev_of(store) == before

    async def test_of_many_at_once_one_arrives(self, store, others):
        entries = await asyncio.gather(
            *(enter(store, f"here {number}") for number in range(25)),
            *(enter(others, f"there {number}") for number in range(25)),
        )
        assert [entry.has_arrived for entry in entries].count(True) == 1
        assert await shown(others) == {"ann": 50}

    @pytest.mark.parametrize("text", ["7", "a b:c*{}[]?", "ünï-😀", "x" * 200])
    async def test_rooms_keys_and_connections_may_be_any_text(self, store, others, text):
        await enter(store, text, text, text)
        await enter(store, "b", "bob", text)
        await enter(store, text, text)
        assert await shown(others, text) == {text: 1, "bob": 1}
        assert await others.find_key(text, text) == text
        assert await others.find_keys(text, text) == [text]
        result = await store.leave(text, text, is_at_once=True)
        assert result.departure[:3] == (text, text, text)
        assert await shown(others, text) == {"bob": 1}
        assert await shown(others) == {text: 1}

    async def test_profile_comes_back_as_it_was_given(self, store, others):
        text = (
            '{"userId": null, "info": {"n": 1764520000123456789, "a": [], "o": {}, "é": "\\u0000"}}'
        )
        given = Profile(key="k", user_id=None, text=text)
        await store.enter("a", ROOM, given, grace_seconds=1)
        (member,) = (await others.read(ROOM, None, ALL)).members
        assert member.profile == given
        assert (await store.leave("a", ROOM, is_at_once=True)).departure.user_id is None

    async def test_keys_of_a_user(self, store, others):
        for number in range(3):
            given = profile(f"key {number}", user_id="ann" if number < 2 else "bob")
            await store.enter(f"c{number}", ROOM, given, grace_seconds=1)
        assert sorted(await others.find_keys(ROOM, "ann")) == ["key 0", "key 1"]
        assert await others.find_key(ROOM, "c2") == "key 2"
        await store.leave("c0", ROOM, is_at_once=True)
        assert await others.find_keys(ROOM, "ann") == ["key 1"]
        assert await others.find_key(ROOM, "c0") is None
        assert await others.find_keys("other", "ann") == []

    # --- leaving at once

    async def test_closed_tabs_are_counted_out(self, store, others):
        await enter_all(store, *"abcde")
        for number, connection_id in enumerate("abcd"):
            result = await store.leave(connection_id, ROOM, is_at_once=True)
            assert result.departure is None
            assert await shown(others) == {"ann": 4 - number}
        assert await sweep_all(store) == ({}, [])

    async def test_last_connection_departs(self, store, others, pass_time):
        await enter_all(store, "a", key="ann")
        await enter_all(others, "b", key="bob")
        await pass_time(0.1)
        result = await store.leave("a", ROOM, is_at_once=True)
        assert result.departure == Departure(ROOM, "ann", "ann", result.departure.seconds)
        assert 0.1 <= result.departure.seconds < 5
        assert await shown(others) == {"bob": 1}
        assert await sweep_all(others) == ({}, [])

    async def test_leaving_again_or_without_entering_is_nothing(self, store):
        await enter(store, "a", "ann")
        await enter(store, "b", "bob")
        await store.leave("b", ROOM, is_at_once=True)
        before = await rev_of(store)
        for is_at_once in (True, False):
            assert await store.leave("b", ROOM, is_at_once=is_at_once) == Exit()
            assert await store.leave("unknown", ROOM, is_at_once=is_at_once) == Exit()
            assert await store.leave("a", "other", is_at_once=is_at_once) == Exit()
        assert await rev_of(store) == before
        assert await shown(store) == {"ann": 1}

    async def test_at_once_departs_whatever_is_within_its_grace(self, store, others, pass_time):
        await enter_all(store, "a", "b")
        await lose(store, "a")
        result = await store.leave("b", ROOM, is_at_once=True)
        assert result.departure.key == "ann"
        assert await shown(others) == {}
        await pass_time(GRACE_SECONDS + 0.1)
        assert await sweep_all(others) == ({}, [])

    async def test_at_once_keeps_those_within_their_grace(self, store):
        await enter_all(store, *"abc")
        await lose(store, "a")
        await store.leave("b", ROOM, is_at_once=True)
        assert await shown(store) == {"ann": 2}

    async def test_back_after_a_departure_arrives_anew(self, store, pass_time):
        first = await enter(store, "a")
        await store.leave("a", ROOM, is_at_once=True)
        await pass_time(0.01)
        again = await enter(store, "a")
        assert again.has_arrived
        assert again.member.since_ms > first.member.since_ms

    async def test_grace_of_nothing_is_at_once(self, store):
        await enter(store, "a", grace=0)
        assert (await store.leave("a", ROOM, is_at_once=False)).departure.key == "ann"
        assert await shown(store) == {}

    # --- leaving with grace

    async def test_lost_member_departs_once_when_its_grace_is_over(self, store, others, pass_time):
        await enter(store, "a")
        before = await rev_of(store)
        await lose(store, "a")
        assert await store.find_key(ROOM, "a") is None
        sweep = await sweep_once(others)
        assert sweep == Sweep(next_seconds=sweep.next_seconds)
        assert 0 < sweep.next_seconds <= GRACE_SECONDS
        assert await rev_of(others) == before
        await pass_time(GRACE_SECONDS + TELL_INTERVAL_SECONDS)
        departures, rooms = await sweep_all(others)
        assert departures == {"ann": Departure(ROOM, "ann", "ann", departures["ann"].seconds)}
        assert rooms == [ROOM]
        assert GRACE_SECONDS <= departures["ann"].seconds < 5
        assert await shown(store) == {}
        assert [await sweep_once(each) for each in (store, others)] == [Sweep()] * 2

    async def test_reload_says_nothing(self, store, others, pass_time):
        first = await enter(store, "a")
        before = await rev_of(store)
        await lose(store, "a")
        entry = await enter(others, "b")
        assert entry == (first.member, False, False)
        await pass_time(GRACE_SECONDS + 0.1)
        assert await sweep_all(others) == ({}, [])
        assert (await shown(store), await rev_of(store)) == ({"ann": 1}, before)

    async def test_lost_tab_is_shown_until_its_grace_is_over(self, store, others, pass_time):
        await enter_all(store, "a", "b")
        await lose(store, "a")
        assert await shown(others) == {"ann": 2}
        await pass_time(GRACE_SECONDS + TELL_INTERVAL_SECONDS)
        assert await sweep_all(others) == ({}, [ROOM])
        assert await shown(store) == {"ann": 1}

    async def test_last_loss_begins_the_grace_anew(self, store, pass_time):
        await enter_all(store, "a", "b")
        await lose(store, "a")
        await pass_time(0.2)
        await lose(store, "b")
        await pass_time(0.2)
        assert await sweep_all(store) == ({}, [])
        assert await shown(store) == {"ann": 2}
        await pass_time(0.2)
        assert [*(await sweep_all(store))[0]] == ["ann"]

    async def test_new_connection_of_a_lost_member_adds_none(self, store, pass_time):
        await enter_all(store, "a", "b")
        await lose(store, "a", "b")
        assert (await enter(store, "c")).member.connections == 2
        await enter_all(store, "d", "e")
        assert await shown(store) == {"ann": 3}
        await pass_time(GRACE_SECONDS + 0.1)
        assert (await sweep_all(store))[0] == {}
        assert await shown(store) == {"ann": 3}

    async def test_every_departure_is_for_one_of_all_sweepers(self, store, others, pass_time):
        keys = [f"user {number}" for number in range(300)]
        await asyncio.gather(*(enter(store, key, key) for key in keys))
        await asyncio.gather(*(lose(store, key) for key in keys))
        await pass_time(GRACE_SECONDS + TELL_INTERVAL_SECONDS)
        found = []
        while await shown(store):
            for sweep in await asyncio.gather(*(each.sweep() for each in (store, others) * 3)):
                found += [departure.key for departure in sweep.departures]
        assert sorted(found) == sorted(keys)

    # --- connections of before

    async def test_connection_of_before_is_counted_out_without_a_trace(self, store, others):
        await enter(store, "a")
        before = await rev_of(store)
        entry = await enter(others, "b", former=("a", "unknown"))
        assert (entry.has_arrived, entry.must_tell, entry.member.connections) == (False, False, 1)
        assert await store.find_key(ROOM, "a") is None
        assert await rev_of(store) == before
        assert await store.leave("a", ROOM, is_at_once=True) == Exit()
        assert (await others.leave("b", ROOM, is_at_once=True)).departure.key == "ann"

    async def test_connection_of_another_member_is_not_one_of_before(self, store):
        await enter(store, "a", "ann")
        await enter(store, "b", "bob", former=("a",))
        assert await shown(store) == {"ann": 1, "bob": 1}
        assert await store.find_key(ROOM, "a") == "ann"

    async def test_connection_that_becomes_another_member_leaves_the_first(
        self, store, others, pass_time
    ):
        await enter(store, "a")
        await enter(store, "a", "bob")
        assert await shown(others) == {"ann": 1, "bob": 1}
        await pass_time(GRACE_SECONDS + 0.1)
        departures, _ = await sweep_all(others)
        assert [*departures] == ["ann"]
        assert await shown(store) == {"bob": 1}

    async def test_connection_of_before_in_another_room_stays(self, store):
        await enter(store, "a", room="other")
        await enter(store, "b", former=("a",))
        assert await shown(store, "other") == {"ann": 1}

    # --- profiles and states

    async def test_changed_profile_is_told(self, store, others, pass_time):
        await enter_all(store, "a", "b")
        before = await mark_of(store)
        await pass_time(TELL_INTERVAL_SECONDS + 0.05)
        assert await store.set_profile("a", ROOM, profile(name="Ännchen")) is True
        assert await store.set_profile("b", ROOM, profile(name="Ännchen")) is False
        assert await store.set_profile("unknown", ROOM, profile(name="other")) is False
        assert await store.set_profile("a", "other", profile(name="other")) is False
        (member,) = (await others.read(ROOM, before, ALL)).members
        assert member.profile == profile(name="Ännchen")

    async def test_connection_brings_the_profile(self, store, others):
        await enter(store, "a")
        before = await mark_of(store)
        given = profile(name="new")
        entry = await store.enter("a", ROOM, given, grace_seconds=GRACE_SECONDS)
        assert entry.member.profile == given
        assert await changes(others, before) == ({"ann": 1}, [])

    async def test_profile_without_info_replaces_none(self, store, others):
        unknown = replace(profile(name=""), has_info=False)
        first = await store.enter("a", ROOM, unknown, grace_seconds=GRACE_SECONDS)
        assert first.member.profile == unknown
        await enter(store, "a")
        entry = await others.enter("b", ROOM, unknown, grace_seconds=GRACE_SECONDS)
        assert entry.member.profile == profile()
        (member,) = (await store.read(ROOM, None, ALL)).members
        assert member.profile == profile()

    async def test_state_comes_back_as_it_was_set(self, store, others, pass_time):
        await enter(store, "a")
        before = await mark_of(store)
        await pass_time(TELL_INTERVAL_SECONDS + 0.05)
        told = []
        for state in ('{"typing":true}', '{"x":1e3,"é":"😀"}', "x" * 1024):
            told.append(await others.set_state(ROOM, "ann", state, None))
            (member,) = (await store.read(ROOM, before, ALL)).members
            assert member.state == state
            assert (await enter(store, "b")).member.state == state
        assert told == [True, False, False]

    async def test_state_of_nobody_is_refused(self, store):
        await enter(store, "a")
        assert await store.set_state(ROOM, "bob", "{}", None) is None
        assert await store.set_state("other", "ann", "{}", None) is None

    async def test_same_state_again_is_no_change(self, store):
        await enter(store, "a")
        assert await store.set_state(ROOM, "ann", None, 5) is False
        await store.set_state(ROOM, "ann", "{}", None)
        before = await rev_of(store)
        assert await store.set_state(ROOM, "ann", "{}", 5) is False
        assert await rev_of(store) == before
        await store.set_state(ROOM, "ann", None, None)
        assert await state_of(store) is None
        assert await rev_of(store) > before

    async def test_state_ends_after_its_time(self, store, others, pass_time):
        await enter_all(store, "a", grace=LONG_SECONDS)
        await store.set_state(ROOM, "ann", "{}", 0.3)
        assert 0 < (await others.sweep()).next_seconds <= 0.3
        assert await state_of(store) == "{}"
        before = await mark_of(store)
        await pass_time(0.3 + TELL_INTERVAL_SECONDS)
        assert await sweep_all(others) == ({}, [ROOM])
        assert await state_of(store) is None
        assert await changes(store, before) == ({"ann": 1}, [])

    async def test_later_state_has_its_own_time(self, store, pass_time):
        await enter_all(store, "a", grace=LONG_SECONDS)
        await store.set_state(ROOM, "ann", "[1]", 0.2)
        await store.set_state(ROOM, "ann", "[2]", 0.6)
        await pass_time(0.3)
        await sweep_all(store)
        assert await state_of(store) == "[2]"
        await store.set_state(ROOM, "ann", "[2]", None)
        await pass_time(0.4)
        await sweep_all(store)
        assert await state_of(store) == "[2]"

    async def test_state_outlives_a_reload_but_no_departure(self, store):
        await enter(store, "a")
        await store.set_state(ROOM, "ann", "{}", LONG_SECONDS)
        await lose(store, "a")
        assert (await enter(store, "b")).member.state == "{}"
        await store.leave("b", ROOM, is_at_once=True)
        assert (await enter(store, "c")).member.state is None

    # --- reading

    async def test_reader_gets_what_has_changed(self, store, others):
        marks = [await mark_of(store)]
        for key in ("ann", "bob", "cid"):
            await enter(store, key, key)
            marks.append(await mark_of(others))
        await enter(store, "second", "ann")
        await store.leave("bob", ROOM, is_at_once=True)
        assert await changes(others, marks[3]) == ({"ann": 2}, ["bob"])
        assert await changes(others, marks[2]) == ({"ann": 2, "cid": 1}, ["bob"])
        assert await changes(others, marks[0]) == ({"ann": 2, "cid": 1}, ["bob"])
        assert await changes(others, await mark_of(store)) == ({}, [])

    async def test_member_that_came_back_has_not_left(self, store):
        await enter(store, "a", "ann")
        await enter(store, "b", "bob")
        before = await mark_of(store)
        await store.leave("a", ROOM, is_at_once=True)
        await enter(store, "a", "ann")
        assert await changes(store, before) == ({"ann": 1}, [])

    async def test_limit_of_a_reader(self, store):
        before = await mark_of(store)
        for number in range(3):
            await enter(store, f"c{number}", f"user {number}")
        for since in (None, before):
            picture = await store.read(ROOM, since, 2)
            assert picture[1:] == (3, True, None, ())
            assert len((await store.read(ROOM, since, 3)).members) == 3
        await store.leave("c0", ROOM, is_at_once=True)
        assert len((await store.read(ROOM, None, 2)).members) == 2
        assert await changes(store, picture.mark, limit=2) == ({}, ["user 0"])

    async def test_reader_that_was_away_for_long_reads_all(self, store):
        await enter(store, "a", "ann")
        rev, now = await mark_of(store)
        await enter(store, "b", "bob")
        old = Mark(rev, now - (LEFT_TTL_SECONDS + 1) * 1_000_000)
        picture = await store.read(ROOM, old, ALL)
        assert (picture.is_whole, len(picture.members)) == (True, 2)

    async def test_check_finds_the_rooms_that_have_changed(self, store, others):
        rooms = [f"room {number}" for number in range(4)]
        for room in rooms[:3]:
            await enter(store, "a", room=room)
        marks = {room: await mark_of(store, room) for room in rooms}
        found = await others.check(marks)
        assert {room: mark.rev for room, mark in found.items()} == {
            room: mark.rev for room, mark in marks.items()
        }
        assert all(found[room].read_at_us >= marks[room].read_at_us for room in rooms)
        await enter(store, "b", room="room 0")
        await store.leave("a", "room 1", is_at_once=True)
        await enter(store, "a", room="room 3")
        assert [*(await others.check(marks))] == ["room 2"]
        assert await others.check({}) == {}

    async def test_store_that_forgot_is_read_anew(self, store, others):
        await enter(store, "a", "ann")
        await enter(store, "b", "bob")
        before = await mark_of(store)
        await store.forget_all()
        assert await shown(others) == {}
        assert await others.check({ROOM: before}) == {}
        await enter(store, "c", "cid")
        picture = await others.read(ROOM, before, ALL)
        assert picture.is_whole
        assert [member.profile.key for member in picture.members] == ["cid"]
        assert picture.mark.rev > before.rev

    # --- revs and telling

    async def test_rev_grows_with_what_others_see(self, store, others):
        steps = [
            enter(store, "a"),
            enter(others, "b"),
            store.set_profile("a", ROOM, profile(name="new")),
            others.set_state(ROOM, "ann", "{}", None),
            store.leave("a", ROOM, is_at_once=True),
            others.leave("b", ROOM, is_at_once=True),
            enter(store, "a"),
        ]
        revs = [0]
        for step in steps:
            await step
            revs.append(await rev_of(others))
        assert revs == sorted(set(revs))
        assert all(len(str(rev)) == 16 for rev in revs[1:])

    async def test_first_change_of_an_interval_is_told(self, store, others, pass_time):
        assert (await enter(store, "a")).must_tell
        assert not (await enter(others, "b", "bob")).must_tell
        assert (await enter(others, "c", room="other")).must_tell
        assert not await others.set_state(ROOM, "ann", "{}", None)
        await pass_time(TELL_INTERVAL_SECONDS + 0.05)
        assert (await others.leave("b", ROOM, is_at_once=True)).must_tell
        assert not (await store.leave("a", ROOM, is_at_once=True)).must_tell

    # --- against a model

    # The test is run for each store.
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(history=histories(has_time=False))
    async def test_any_history_is_that_of_a_simple_model(self, store, others, history):
        await replay(history, store, others)
