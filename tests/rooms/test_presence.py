"""Presence through the wire: members, their viewers, and when a member departs."""

import asyncio

import pytest
from django.contrib.auth.models import Group

from pm_realtime import (
    adisconnect_connection,
    adisconnect_user,
    arefresh_room,
    arefresh_user,
    asubscribe,
    aunsubscribe,
)
from pm_realtime.backends import get_presence_store
from tests.support.helpers import Connection, assert_envelope, assert_refusal, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing")

ROOM = "page:1"
#: Seconds of grace: long enough for a reload, and short enough for a test.
GRACE_SECONDS = 0.3
#: Seconds after which a change that is told would have been told.
QUIET_SECONDS = 0.4


@pytest.fixture
def with_presence(configure):
    """Have all rooms whose names begin with ``page:`` have presence with these options."""

    def use(room=None, **presence):
        options = {"grace": GRACE_SECONDS, **presence}
        rooms = {"page:<int:pk>": {"presence": options, **(room or {})}, "plain": {}}
        configure(ROOMS=rooms, RATE_LIMIT=None)

    use()
    return use


async def join(connection, room=ROOM):
    """Subscribe; returns the presence in the reply."""
    answer = await connection.ask("subscribe", {"room": room})
    assert answer["type"] == "subscribed", answer
    return answer["payload"]["presence"]


async def found_members(room=ROOM):
    picture = await get_presence_store().read(room, None, 1000)
    return {each.profile.key: each for each in picture.members}


async def until_nobody_is_in(room=ROOM):
    async with asyncio.timeout(5):
        while await found_members(room):
            await asyncio.sleep(0.01)


async def assert_silence(connection, room=ROOM):
    """Nothing of ``room``'s presence arrives for a while."""
    await asyncio.sleep(QUIET_SECONDS)
    told = [each for each in await connection.so_far() if each["type"] == "presence"]
    assert told == []


# Members


async def test_subscribed_has_the_members(with_presence, user, editor):
    async with Connection(user=user) as first, Connection(user=editor) as second:
        alone = await join(first)
        assert alone["total"] == 1
        assert alone["me"] == str(user.pk)
        assert alone["rev"] > 0
        (member,) = alone["members"]
        assert type(member.pop("since")) is int
        own = {"key": str(user.pk), "userId": str(user.pk), "connections": 1}
        assert member == {**own, "info": {"name": "Uma User"}}
        both = await join(second)
        assert both["total"] == 2
        assert {each["key"] for each in both["members"]} == {str(user.pk), str(editor.pk)}
        told = await first.assert_push("presence")
        payload = told["payload"]
        assert payload["prev"] == alone["rev"]
        assert payload["rev"] > alone["rev"]
        assert payload["total"] == 2
        assert [each["userId"] for each in payload["joined"]] == [str(editor.pk)]
        assert payload["updated"] == payload["left"] == []
        assert "cursor" not in told


async def test_room_without_presence_says_nothing_of_it(with_presence, user):
    async with Connection(user=user) as connection:
        answer = await connection.ask("subscribe", {"room": "plain"})
        assert "presence" not in answer["payload"]


async def test_second_tab_is_one_more_connection(with_presence, user, editor):
    async with Connection(user=editor) as other, Connection(user=user) as first:
        await join(other)
        await join(first)
        async with Connection(user=user) as second:
            assert (await join(second))["total"] == 2
            await other.assert_presence(ROOM, members=[{"connections": 1}, {"connections": 2}])
            await second.ask("unsubscribe", {"room": ROOM})
            await other.assert_presence(ROOM, members=[{"connections": 1}, {"connections": 1}])
        joined = [key for each in _told(other) for key in each["joined"]]
        left = [key for each in _told(other) for key in each["left"]]
        assert (len(joined), left) == (1, [])


def _told(connection):
    return [
        each["payload"]
        for each in connection.received
        if each["type"] == "presence" and "prev" in each["payload"]
    ]


async def test_subscribing_again_gives_the_picture_again(with_presence, user):
    async with Connection(user=user) as connection:
        first = await join(connection)
        again = await join(connection)
        assert again == first
        assert again["members"][0]["connections"] == 1


# Leaving


async def test_unsubscribe_departs_at_once(with_presence, user, editor):
    with_presence(grace=60)
    async with Connection(user=user) as stays, Connection(user=editor) as leaves:
        await join(stays)
        await join(leaves)
        await leaves.ask("unsubscribe", {"room": ROOM})
        assert set(await found_members()) == {str(user.pk)}
        await stays.assert_presence(ROOM, users=[user])


async def test_lost_connection_departs_after_the_grace(with_presence, user, editor):
    with_presence(grace=0.5)
    async with Connection(user=user) as stays, Connection(user=editor) as goes:
        await join(stays)
        await join(goes)
        await stays.assert_presence(ROOM, total=2)
        await goes.drop()
        assert len(await found_members()) == 2
        await stays.assert_presence(ROOM, users=[user], timeout=5)


async def test_reload_within_the_grace_is_silent(with_presence, user, editor):
    with_presence(grace=60)
    async with Connection(user=user) as stays, Connection(user=editor) as goes:
        await join(stays)
        await join(goes)
        await stays.assert_presence(ROOM, total=2)
        await stays.so_far()
        await goes.drop()
        async with goes.recover() as again:
            assert again.presence(ROOM).me["connections"] == 1
            await assert_silence(stays)


async def test_client_that_comes_back_before_its_end_is_one_connection(with_presence, user):
    with_presence(grace=60)
    async with Connection(user=user) as first:
        await join(first)
        async with first.recover() as again:
            assert again.presence(ROOM).me["connections"] == 1


@pytest.mark.parametrize(
    ("code", "is_at_once"),
    [(4503, True), (4504, True), (4999, True), (4000, False), (4012, False)],
)
async def test_close_code_decides_about_the_grace(with_presence, user, code, is_at_once):
    with_presence(grace=60)
    async with Connection(user=user) as connection:
        await join(connection)
        await adisconnect_connection(connection.connection_id, code=code)
        await connection.assert_closed(code)
        await connection.assert_ended()
    assert (await found_members() == {}) is is_at_once


async def test_logged_out_user_departs_at_once(with_presence, user):
    with_presence(grace=60)
    async with Connection(user=user) as connection:
        await join(connection)
        await adisconnect_user(user, code=4501)
        await connection.assert_closed(4501)
        await connection.assert_ended()
    assert await found_members() == {}


async def test_replaced_connection_has_grace(with_presence, configure, user):
    with_presence(grace=60)
    configure(MAX_CONNECTIONS_PER_USER=1)
    async with Connection(user=user) as first:
        await join(first)
        async with Connection(user=user) as second:
            await first.assert_closed(4502)
            await first.assert_ended()
            assert set(await found_members()) == {str(user.pk)}
            await join(second)


async def test_lost_right_departs_at_once(with_presence, user, editor):
    with_presence({"min_role": "user", "authorize": f"{__name__}.may_join"}, grace=60)
    allowed.update((user.pk, editor.pk))
    async with Connection(user=user) as stays, Connection(user=editor) as goes:
        await join(stays)
        await join(goes)
        allowed.discard(editor.pk)
        await arefresh_room(ROOM)
        await goes.assert_push("unsubscribed")
        await stays.assert_presence(ROOM, users=[user])


allowed: set[int] = set()


def may_join(user, room, **values):
    return user.pk in allowed


async def test_server_code_joins_and_leaves(with_presence, user, editor):
    with_presence(grace=60)
    async with Connection(user=user) as stays, Connection(user=editor) as other:
        await join(stays)
        await asubscribe(other.connection_id, ROOM)
        subscribed = await other.assert_push("subscribed")
        assert subscribed["payload"]["presence"]["total"] == 2
        await stays.assert_presence(ROOM, users=[user, editor])
        await aunsubscribe(other.connection_id, ROOM)
        await other.assert_push("unsubscribed")
        await stays.assert_presence(ROOM, users=[user])


async def test_full_room_has_no_member_more(with_presence, user, editor):
    with_presence({"max_connections": 1}, grace=60)
    async with Connection(user=user) as first, Connection(user=editor) as second:
        await join(first)
        refusal = await second.ask("subscribe", {"room": ROOM})
        assert refusal["payload"]["code"] == "ROOM_FULL"
        assert set(await found_members()) == {str(user.pk)}


# Viewers


async def test_anonymous_connection_sees_but_is_no_member(with_presence, user):
    with_presence({"public": True})
    async with Connection() as visitor, Connection(user=user) as member:
        alone = await join(visitor)
        assert (alone["total"], alone["members"]) == (0, [])
        assert "me" not in alone
        await join(member)
        await visitor.assert_presence(ROOM, users=[user])


async def test_see_is_for_a_role_and_higher_ones(with_presence, users):
    with_presence(see="editor")
    async with Connection(user=users["user"]) as low, Connection(user=users["admin"]) as high:
        alone = await join(low)
        assert alone == {"rev": alone["rev"], "total": 1, "me": str(users["user"].pk)}
        assert len((await join(high))["members"]) == 2
        told = (await low.assert_push("presence"))["payload"]
        assert told == {"room": ROOM, "rev": told["rev"], "prev": alone["rev"], "total": 2}


async def test_total_that_stays_is_not_told(with_presence, users):
    with_presence(see="editor")
    async with Connection(user=users["user"]) as low, Connection(user=users["user"]) as tab:
        await join(low)
        await join(tab)
        await assert_silence(low)


async def test_moderator_watches_unseen(with_presence, users):
    with_presence(be_seen=["user", "editor"])
    async with Connection(user=users["user"]) as member, Connection(user=users["admin"]) as admin:
        await join(member)
        seen = await join(admin)
        assert [each["userId"] for each in seen["members"]] == [str(users["user"].pk)]
        assert seen["total"] == 1
        assert "me" not in seen
        await assert_silence(member)


async def test_guest_is_shown_and_sees_only_the_number(with_presence, user):
    with_presence({"public": True}, per="connection", see="user")
    async with Connection() as guest, Connection(user=user) as host:
        own = await join(guest)
        assert own["total"] == 1
        assert "members" not in own
        seen = await join(host)
        assert {each["userId"] for each in seen["members"]} == {None, str(user.pk)}


async def test_member_that_loses_be_seen_departs_at_once_and_stays_in_the_room(
    with_presence, users
):
    with_presence(be_seen="editor", grace=60)
    editor = users["editor"]
    async with Connection(user=users["admin"]) as stays, Connection(user=editor) as demoted:
        await join(stays)
        await join(demoted)
        await stays.assert_presence(ROOM, total=2)
        await _set_role(editor, None)
        await stays.assert_presence(ROOM, users=[users["admin"]])
        assert (await demoted.ask("presence", {"room": ROOM}))["payload"]["total"] == 1
        await _set_role(editor, "editor")
        await stays.assert_presence(ROOM, users=[users["admin"], editor])
        seen = await demoted.assert_presence(ROOM, total=2)
        assert seen.me["userId"] == str(editor.pk)


async def test_viewer_that_gains_be_seen_learns_which_member_it_is(with_presence, users):
    with_presence(be_seen="editor", grace=60)
    user = users["user"]
    async with Connection(user=user) as connection:
        assert (await join(connection))["total"] == 0
        await _set_role(user, "editor")
        seen = await connection.assert_presence(ROOM, users=[user])
        assert seen.me["key"] == str(user.pk)


async def test_viewer_gains_and_loses_see(with_presence, users):
    with_presence(see="editor", grace=60)
    user = users["user"]
    async with Connection(user=user) as connection:
        await join(connection)
        assert connection.presence(ROOM).members is None
        await _set_role(user, "editor")
        await connection.assert_presence(ROOM, users=[user])
        await _set_role(user, None)
        await eventually(lambda: connection.presence(ROOM).members is None)
        async with Connection(user=users["admin"]) as other:
            await join(other)
            told = (await connection.assert_push("presence"))["payload"]
            assert "joined" not in told
            assert "members" not in told


async def _set_role(user, role):
    """Give ``user`` the group ``role``, or none, and tell its connections."""
    if hasattr(user, "groups"):
        await user.groups.aclear()
        if role is not None:
            group, _ = await Group.objects.aget_or_create(name=role)
            await user.groups.aadd(group)
    else:
        user.level = role or "user"
        await user.asave()
    await arefresh_user(user)


# Members that are connections


async def test_each_connection_is_a_member(with_presence, user):
    with_presence({"public": True}, per="connection")
    async with Connection() as visitor, Connection(user=user) as first:
        own = await join(visitor)
        (member,) = own["members"]
        assert member["userId"] is None
        assert member["info"] == {}
        assert member["key"] == own["me"]
        assert len(own["me"]) == 16
        assert visitor.connection_id not in str(own)
        await join(first)
        async with Connection(user=user) as second:
            await join(second)
            await second.assert_presence(ROOM, users=[None, user, user])
            await visitor.assert_presence(ROOM, users=[None, user, user])


async def test_connection_that_comes_back_is_the_same_member(with_presence):
    with_presence({"public": True}, per="connection", grace=60)
    async with Connection() as stays, Connection() as goes:
        await join(stays)
        own = await join(goes)
        await stays.assert_presence(ROOM, total=2)
        await stays.so_far()
        await goes.drop()
        async with goes.recover() as again:
            assert again.presence(ROOM).me["key"] == own["me"]
            await assert_silence(stays)


@pytest.mark.parametrize("per", ["user", "connection"])
async def test_copy_of_a_tab_counts_beside_it(with_presence, user, per):
    """A browser copies what a tab knows of its connections, as "Duplicate tab" does."""
    with_presence(per=per, grace=0)
    async with Connection(user=user) as original:
        own = await join(original)
        earlier = f"resume=-,{original.connection_id}"
        async with copy_of(user, earlier) as copy:
            assert (await join(copy))["me"] == own["me"]
            await original.assert_presence(ROOM, members=[{"connections": 2}])
            await copy.drop()
            later = f"resume={copy.connection_id},{original.connection_id}"
            async with copy_of(user, later) as again:
                await join(again)
                await original.assert_presence(ROOM, members=[{"connections": 2}])
        await original.assert_presence(ROOM, members=[{"connections": 1}])


def copy_of(user, query):
    copied = Connection(user=user)
    copied.scope["query_string"] = query.encode()
    return copied


async def test_client_that_has_logged_in_is_another_member(with_presence, user):
    with_presence({"public": True}, per="connection", grace=60)
    async with Connection() as visitor:
        own = await join(visitor)
        await visitor.drop()
    later = Connection(user=user)
    later.scope["query_string"] = f"resume={visitor.connection_id}".encode()
    async with later:
        assert (await join(later))["me"] != own["me"]
        await later.ask("unsubscribe", {"room": ROOM})
        assert set(await found_members()) == {own["me"]}


# More members than are told


async def test_over_max_only_the_number_is_told(with_presence, users):
    with_presence(max=2)
    first, second, third = (users[role] for role in ("user", "editor", "admin"))
    async with Connection(user=first) as one, Connection(user=second) as two:
        assert len((await join(one))["members"]) == 1
        assert len((await join(two))["members"]) == 2
        await one.assert_presence(ROOM, total=2)
        async with Connection(user=third) as three:
            many = await join(three)
            assert many["total"] == 3
            assert "members" not in many
            await one.assert_presence(ROOM, total=3)
            told = _told(one)[-1]
            assert set(told) == {"room", "rev", "prev", "total"}
            await three.ask("unsubscribe", {"room": ROOM})
        await one.assert_presence(ROOM, total=2)
        told = _told(one)[-1]
        assert set(told) == {"room", "rev", "prev", "total", "members"}
        assert {each["userId"] for each in told["members"]} == {str(first.pk), str(second.pk)}


# Asking


async def test_answer_to_a_question_has_the_picture(with_presence, user):
    async with Connection(user=user) as connection:
        own = await join(connection)
        answer = await connection.ask("presence", {"room": ROOM}, id="q")
        assert_envelope(answer, type="presence", id="q", payload={"room": ROOM, **own})


@pytest.mark.parametrize("payload", [{}, {"state": None}, {"state": {"typing": True}}])
async def test_room_that_is_not_joined_refuses(with_presence, user, payload):
    async with Connection(user=user) as connection:
        refusal = await connection.ask("presence", {"room": ROOM, **payload}, id="a")
        assert_refusal(refusal, "NOT_IN_ROOM", id="a", room=ROOM)


@pytest.mark.parametrize("payload", [{}, {"state": {"typing": True}}])
async def test_room_without_presence_refuses(with_presence, user, payload):
    async with Connection(user=user) as connection:
        await connection.subscribe("plain")
        refusal = await connection.ask("presence", {"room": "plain", **payload}, id="a")
        assert_refusal(refusal, "FORBIDDEN", id="a", room="plain")


async def test_question_counts_against_the_rate(with_presence, configure, user):
    configure(RATE_LIMIT="4/m")
    async with Connection(user=user) as connection:
        await join(connection)
        types = [(await connection.ask("presence", {"room": ROOM}))["type"] for _ in range(4)]
        assert types == ["presence"] * 3 + ["error"]


@pytest.mark.parametrize("payload", [None, {}, {"state": {}}, {"room": 5}, {"room": ""}])
async def test_question_without_a_room_is_malformed(with_presence, user, payload):
    async with Connection(user=user) as connection:
        refusal = await connection.ask("presence", payload, id="a")
        assert refusal["payload"]["code"] in ("INVALID_PAYLOAD", "INVALID_ROOM")


# Info


def describe(users):
    return {each.pk: {"first": each.first_name} for each in users}


async def test_info_follows_the_user(with_presence, user, editor):
    with_presence(info=f"{__name__}.describe")
    async with Connection(user=user) as stays, Connection(user=editor) as changes:
        await join(stays)
        await join(changes)
        await stays.assert_presence(
            ROOM, members=[{"info": {"first": "Uma"}}, {"info": {"first": "Ed"}}]
        )
        editor.first_name = "Edna"
        await editor.asave()
        await arefresh_user(editor)
        await stays.assert_presence(
            ROOM, members=[{"info": {"first": "Uma"}}, {"info": {"first": "Edna"}}]
        )
