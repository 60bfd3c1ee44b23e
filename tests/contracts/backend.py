"""The tests of the contract in ``pm_realtime/backends/base.py``, for every backend.

A test class of a backend inherits from :class:`BackendContract` and has a fixture ``backend`` that
gives a fresh one.
"""

import asyncio
import dataclasses
import itertools

import pytest

from pm_realtime.backends.base import Admission, Backend, ConnectionInfo

POLICIES = ("close_oldest", "refuse")
NOTHING = {"totalConnections": 0, "authenticatedConnections": 0, "totalRooms": 0, "roomStats": {}}


_clock = itertools.count(1000)


def info(connection_id, user_id="ann", *, role="user"):
    """A connection a second younger than the last one."""
    return ConnectionInfo(
        connection_id=connection_id, user_id=user_id, role=role, connected_at=next(_clock) + 0.5
    )


async def add_all(backend, *connection_ids, user_id="ann", limit=100, policy="close_oldest"):
    """Add connections one after the other; the answers."""
    return [
        await backend.add(info(connection_id, user_id), limit=limit, policy=policy)
        for connection_id in connection_ids
    ]


async def ids_of(backend, user_id="ann"):
    return [found.connection_id for found in await backend.get_user_connections(user_id)]


class BackendContract:
    def test_is_a_backend(self, backend):
        assert isinstance(backend, Backend)

    def test_check_returns_a_list(self, backend):
        assert isinstance(backend.check(), list)

    async def test_new_backend_is_empty(self, backend):
        assert await backend.get_stats() == NOTHING
        assert await backend.get_connection("nobody") is None
        assert await backend.get_user_connections("nobody") == []

    # --- connections

    async def test_connection_is_found_as_it_was_added(self, backend):
        added = info("a", "ann", role="editor")
        assert await backend.add(added, limit=5, policy="close_oldest") == Admission(True, ())
        assert await backend.get_connection("a") == added
        assert await backend.get_user_connections("ann") == [added]

    async def test_missing_user_and_role_stay_none(self, backend):
        await backend.add(info("a", None, role=None), limit=1, policy="refuse")
        found = await backend.get_connection("a")
        assert (found.user_id, found.role, found.rooms) == (None, None, ())

    @pytest.mark.parametrize("user_id", ["7", "a b:c*{}", "ünï-😀", "x" * 300, "None"])
    async def test_user_id_may_be_any_text(self, backend, user_id):
        await add_all(backend, "a", user_id=user_id)
        assert await ids_of(backend, user_id) == ["a"]
        assert (await backend.get_connection("a")).user_id == user_id

    async def test_connections_of_a_user_are_sorted_by_age(self, backend):
        await add_all(backend, "c", "a", "b")
        assert await ids_of(backend) == ["c", "a", "b"]
        await backend.remove("c")
        await add_all(backend, "c")
        assert await ids_of(backend) == ["a", "b", "c"]

    async def test_users_have_limits_of_their_own(self, backend):
        await add_all(backend, "a1", "a2", user_id="ann", limit=2)
        assert await add_all(backend, "b1", "b2", user_id="bob", limit=2) == [Admission(True)] * 2
        assert await ids_of(backend, "ann") == ["a1", "a2"]
        assert await ids_of(backend, "bob") == ["b1", "b2"]

    async def test_removed_connection_is_gone_from_everywhere(self, backend):
        await add_all(backend, "a", "b")
        await backend.join("a", "room", capacity=None)
        await backend.remove("a")
        assert await backend.get_connection("a") is None
        assert await ids_of(backend) == ["b"]
        assert (await backend.get_stats())["roomStats"] == {}

    async def test_released_connection_may_still_be_removed(self, backend):
        await backend.release()
        await add_all(backend, "a")
        await backend.release()
        await backend.remove("a")
        assert await backend.get_stats() == NOTHING

    async def test_removing_an_unknown_connection_is_fine(self, backend):
        await add_all(backend, "a", "b")
        await backend.remove("a")
        await backend.remove("a")
        await backend.remove("unknown")
        assert await ids_of(backend) == ["b"]
        assert (await backend.get_stats())["totalConnections"] == 1

    # --- the limit of a user

    @pytest.mark.parametrize("policy", POLICIES)
    async def test_connections_up_to_the_limit_are_admitted(self, backend, policy):
        answers = await add_all(backend, *"abcde", limit=5, policy=policy)
        assert answers == [Admission(True, ())] * 5

    async def test_refuse_leaves_out_connections_over_the_limit(self, backend):
        await add_all(backend, *"abcde", limit=5, policy="refuse")
        (answer,) = await add_all(backend, "f", limit=5, policy="refuse")
        assert answer == Admission(False, ())
        assert await backend.get_connection("f") is None
        assert await ids_of(backend) == list("abcde")
        assert (await backend.get_stats())["totalConnections"] == 5

    async def test_close_oldest_admits_and_counts_the_oldest_out(self, backend):
        await add_all(backend, *"abcde", limit=5)
        await backend.join("a", "room", capacity=None)
        assert await add_all(backend, "f", limit=5) == [Admission(True, ("a",))]
        assert await add_all(backend, "g", limit=5) == [Admission(True, ("b",))]
        assert await ids_of(backend) == list("cdefg")
        assert await backend.get_connection("a") is None
        stats = await backend.get_stats()
        assert (stats["totalConnections"], stats["roomStats"]) == (5, {})

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("limit", [3, None])
    async def test_returning_client_replaces_its_last_connection(self, backend, policy, limit):
        await add_all(backend, "a", "b", "c")
        await backend.join("b", "room", capacity=1)
        answer = await backend.add(info("d"), limit=limit, policy=policy, instead_of="b")
        assert answer == Admission(True, ("b",))
        assert await ids_of(backend) == ["a", "c", "d"]
        assert await backend.get_connection("b") is None
        assert await backend.join("d", "room", capacity=1)

    @pytest.mark.parametrize("policy", POLICIES)
    async def test_only_connections_of_the_same_user_are_replaced(self, backend, policy):
        await add_all(backend, "a")
        await add_all(backend, "anonymous", user_id=None)
        for number, instead_of in enumerate(["a", "anonymous", "unknown", "", None]):
            added = info(f"b{number}", "bob")
            answer = await backend.add(added, limit=9, policy=policy, instead_of=instead_of)
            assert answer == Admission(True, ())
        added = info("nobody", None)
        answer = await backend.add(added, limit=9, policy=policy, instead_of="a")
        assert answer == Admission(True, ())
        assert await ids_of(backend) == ["a"]
        assert (await backend.get_stats())["totalConnections"] == 8

    async def test_returning_client_over_a_lowered_limit_loses_its_last_one(self, backend):
        await add_all(backend, "a", "b", "c")
        answer = await backend.add(info("d"), limit=1, policy="refuse", instead_of="b")
        assert answer == Admission(False, ("b",))
        assert await ids_of(backend) == ["a", "c"]
        answer = await backend.add(info("d"), limit=1, policy="close_oldest", instead_of="c")
        assert answer == Admission(True, ("c", "a"))
        assert await ids_of(backend) == ["d"]

    async def test_limit_of_one_replaces_the_last_connection(self, backend):
        assert await add_all(backend, *"abc", limit=1) == [
            Admission(True),
            Admission(True, ("a",)),
            Admission(True, ("b",)),
        ]
        assert await ids_of(backend) == ["c"]

    async def test_lowered_limit_closes_the_oldest_until_it_holds(self, backend):
        await add_all(backend, *"abcde", limit=5)
        assert await add_all(backend, "f", limit=2) == [Admission(True, ("a", "b", "c", "d"))]
        assert await ids_of(backend) == ["e", "f"]

    async def test_lowered_limit_refuses_until_it_holds(self, backend):
        await add_all(backend, *"abc", limit=5, policy="refuse")
        for gone in ("a", "b"):
            assert await add_all(backend, "x", limit=2, policy="refuse") == [Admission(False)]
            await backend.remove(gone)
        assert await add_all(backend, "x", limit=2, policy="refuse") == [Admission(True)]

    @pytest.mark.parametrize("policy", POLICIES)
    async def test_removed_connection_makes_room_for_another(self, backend, policy):
        await add_all(backend, "a", "b", limit=2, policy=policy)
        await backend.remove("a")
        assert await add_all(backend, "c", limit=2, policy=policy) == [Admission(True, ())]

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("user_id", ["ann", None])
    async def test_no_limit_admits_all(self, backend, policy, user_id):
        ids = [f"c{number}" for number in range(10)]
        answers = await add_all(backend, *ids, user_id=user_id, limit=None, policy=policy)
        assert answers == [Admission(True, ())] * 10
        assert (await backend.get_stats())["totalConnections"] == 10

    async def test_connection_added_twice_counts_once(self, backend):
        for user_id in ("ann", None, "ann"):
            await add_all(backend, "a", user_id=user_id, limit=1)
        stats = await backend.get_stats()
        assert (stats["totalConnections"], stats["authenticatedConnections"]) == (1, 1)
        assert await ids_of(backend) == ["a"]

    # --- the limit of all that are anonymous

    @pytest.mark.parametrize("policy", POLICIES)
    async def test_anonymous_connection_over_the_limit_is_refused_under_every_policy(
        self, backend, policy
    ):
        answers = await add_all(backend, *"abcd", user_id=None, limit=3, policy=policy)
        assert answers == [Admission(True, ())] * 3 + [Admission(False, ())]
        assert await backend.get_connection("d") is None
        stats = await backend.get_stats()
        assert (stats["totalConnections"], stats["authenticatedConnections"]) == (3, 0)

    async def test_users_do_not_count_against_the_anonymous_limit(self, backend):
        for user_id in ("ann", "bob", "cid"):
            await add_all(backend, f"{user_id}1", f"{user_id}2", user_id=user_id, limit=5)
        assert await add_all(backend, "a", "b", user_id=None, limit=1) == [
            Admission(True),
            Admission(False),
        ]
        assert await add_all(backend, "ann3", user_id="ann", limit=5) == [Admission(True)]

    async def test_removed_anonymous_connection_makes_room_for_another(self, backend):
        await add_all(backend, "a", "b", user_id=None, limit=2)
        await add_all(backend, "u", user_id="ann")
        await backend.remove("u")
        assert await add_all(backend, "c", user_id=None, limit=2) == [Admission(False)]
        await backend.remove("a")
        assert await add_all(backend, "c", user_id=None, limit=2) == [Admission(True)]

    async def test_concurrent_anonymous_connections_are_admitted_up_to_the_limit(self, backend):
        answers = await asyncio.gather(
            *(backend.add(info(f"c{n}", None), limit=7, policy=POLICIES[n % 2]) for n in range(30))
        )
        assert sum(answer.admitted for answer in answers) == 7
        assert (await backend.get_stats())["totalConnections"] == 7

    async def test_concurrent_connections_are_admitted_up_to_the_limit(self, backend):
        answers = await asyncio.gather(
            *(backend.add(info(f"c{n}"), limit=3, policy="refuse") for n in range(20))
        )
        assert sum(answer.admitted for answer in answers) == 3
        assert len(await ids_of(backend)) == 3

    async def test_concurrent_connections_close_each_surplus_one_once(self, backend):
        answers = await asyncio.gather(
            *(backend.add(info(f"c{n}"), limit=3, policy="close_oldest") for n in range(20))
        )
        assert all(answer.admitted for answer in answers)
        replaced = [id for answer in answers for id in answer.replaced]
        staying = await ids_of(backend)
        assert len(staying) == 3
        assert sorted([*replaced, *staying]) == sorted(f"c{n}" for n in range(20))

    # --- rooms

    async def test_rooms_are_sorted_by_joining(self, backend):
        await add_all(backend, "a")
        for room in ("c", "a", "b"):
            assert await backend.join("a", room, capacity=None) is True
        assert (await backend.get_connection("a")).rooms == ("c", "a", "b")
        assert (await backend.get_user_connections("ann"))[0].rooms == ("c", "a", "b")
        await backend.leave("a", "a")
        assert (await backend.get_connection("a")).rooms == ("c", "b")
        await backend.join("a", "a", capacity=None)
        assert (await backend.get_connection("a")).rooms == ("c", "b", "a")

    @pytest.mark.parametrize("room", ["r", "project:123", "two words", "ünï/😀*{}", "r" * 200])
    async def test_room_may_have_any_name(self, backend, room):
        await add_all(backend, "a")
        await backend.join("a", room, capacity=None)
        assert (await backend.get_stats())["roomStats"] == {room: 1}
        await backend.leave("a", room)
        assert (await backend.get_stats())["roomStats"] == {}

    async def test_joining_twice_counts_once(self, backend):
        await add_all(backend, "a")
        for _ in range(3):
            assert await backend.join("a", "room", capacity=None) is True
        assert (await backend.get_connection("a")).rooms == ("room",)
        assert (await backend.get_stats())["roomStats"] == {"room": 1}

    async def test_member_of_a_full_room_may_join_it_again(self, backend):
        await add_all(backend, *"abc")
        joined = [await backend.join(id, "room", capacity=2) for id in "abca"]
        assert joined == [True, True, False, True]
        assert (await backend.get_connection("c")).rooms == ()
        assert (await backend.get_stats())["roomStats"] == {"room": 2}

    async def test_leaving_and_removal_make_room_in_a_full_room(self, backend):
        await add_all(backend, *"abc")
        await backend.join("a", "room", capacity=1)
        await backend.leave("a", "room")
        assert await backend.join("b", "room", capacity=1) is True
        await backend.remove("b")
        assert await backend.join("c", "room", capacity=1) is True

    async def test_room_over_a_lowered_capacity_refuses_others(self, backend):
        await add_all(backend, *"abcd")
        for id in "abc":
            await backend.join(id, "room", capacity=None)
        assert await backend.join("d", "room", capacity=2) is False
        assert await backend.join("d", "room", capacity=4) is True

    async def test_capacity_counts_users_and_anonymous_members(self, backend):
        await add_all(backend, "a", user_id="ann")
        await add_all(backend, "b", user_id=None)
        await add_all(backend, "c", user_id="cid")
        joined = [await backend.join(id, "room", capacity=2) for id in "abc"]
        assert joined == [True, True, False]

    async def test_concurrent_joins_succeed_up_to_the_capacity(self, backend):
        ids = [f"c{number}" for number in range(20)]
        await add_all(backend, *ids)
        joined = await asyncio.gather(*(backend.join(id, "room", capacity=3) for id in ids))
        assert sum(joined) == 3
        assert (await backend.get_stats())["roomStats"] == {"room": 3}

    async def test_leaving_a_room_that_was_not_joined_is_fine(self, backend):
        await add_all(backend, "a", "b")
        await backend.join("a", "room", capacity=None)
        await backend.leave("a", "other")
        await backend.leave("b", "room")
        await backend.leave("unknown", "room")
        await backend.leave("unknown", "nowhere")
        assert (await backend.get_stats())["roomStats"] == {"room": 1}

    async def test_removed_connection_cannot_join_a_room(self, backend):
        await add_all(backend, "a")
        await backend.remove("a")
        await backend.join("a", "room", capacity=None)
        assert await backend.get_stats() == NOTHING

    # --- answers

    async def test_stats_count_all_connections_and_rooms(self, backend):
        await add_all(backend, "a1", "a2", user_id="ann")
        await add_all(backend, "b1", user_id="bob")
        await add_all(backend, "n1", "n2", user_id=None)
        for id, room in (("a1", "x"), ("a2", "x"), ("n1", "x"), ("b1", "y"), ("a1", "y")):
            await backend.join(id, room, capacity=None)
        assert await backend.get_stats() == {
            "totalConnections": 5,
            "authenticatedConnections": 3,
            "totalRooms": 2,
            "roomStats": {"x": 3, "y": 2},
        }

    async def test_role_counts_follow_the_roles(self, backend):
        assert await backend.get_role_counts() == {}
        await add_all(backend, "a1", "a2", user_id="ann")
        await add_all(backend, "b1", user_id="bob")
        await add_all(backend, "n1", user_id=None)
        for id, role in (("a1", "user"), ("a2", "user"), ("b1", "admin"), ("n1", None)):
            await backend.set_role(id, role)
        assert await backend.get_role_counts() == {"user": 2, "admin": 1}
        await backend.set_role("b1", "user")
        await backend.remove("a1")
        assert await backend.get_role_counts() == {"user": 2}

    async def test_backend_without_connections_is_empty_again(self, backend):
        await add_all(backend, *"abc")
        for id in "abc":
            await backend.join(id, f"room-{id}", capacity=None)
        for id in "abc":
            await backend.remove(id)
        assert await backend.get_stats() == NOTHING
        assert await backend.get_user_connections("ann") == []

    async def test_answers_do_not_change_afterwards(self, backend):
        await add_all(backend, "a")
        before = await backend.get_connection("a")
        stats, theirs = await backend.get_stats(), await backend.get_user_connections("ann")
        await backend.join("a", "room", capacity=None)
        await add_all(backend, "b")
        assert before.rooms == ()
        assert [found.connection_id for found in theirs] == ["a"]
        assert (stats["totalConnections"], stats["roomStats"]) == (1, {})

    async def test_connection_info_is_read_only(self, backend):
        await add_all(backend, "a")
        with pytest.raises(dataclasses.FrozenInstanceError):
            (await backend.get_connection("a")).role = "master"

    # --- threads

    async def test_threads_may_ask_while_the_loop_runs(self, backend):
        await add_all(backend, "a", "b")
        await backend.join("a", "room", capacity=None)

        def ask():
            return (
                backend.run(backend.get_stats())["totalConnections"],
                backend.run(backend.get_connection("a")).rooms,
                [found.connection_id for found in backend.run(backend.get_user_connections("ann"))],
            )

        answers = await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(20)))
        assert answers == [(2, ("room",), ["a", "b"])] * 20

    def test_run_raises_the_error_of_the_coroutine(self, backend):
        async def fail():
            raise LookupError("as it was")

        with pytest.raises(LookupError, match="as it was"):
            backend.run(fail())
