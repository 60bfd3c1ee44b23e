"""The state that a client sets for its own member of a room, through the wire."""

import pytest

from pm_realtime.backends import get_presence_store
from pm_realtime.exceptions import BackendError, OutageError
from tests.rooms.test_presence import ROOM, assert_silence, found_members, join
from tests.support.helpers import Connection, assert_envelope, assert_refusal, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing", "options")


@pytest.fixture
def options(configure):
    presence = {"grace": 0.3}
    rooms = {
        "page:<int:pk>": {"presence": presence},
        "unseen": {"presence": {"be_seen": "editor"}},
        "public": {"presence": presence, "public": True},
    }
    configure(ROOMS=rooms)


async def set_state(connection, state, room=ROOM, **more):
    return await connection.ask("presence", {"room": room, "state": state, **more}, id="s")


async def test_state_reaches_the_others_and_oneself(user, editor):
    async with Connection(user=user) as types, Connection(user=editor) as sees:
        await join(types)
        await join(sees)
        answer = await set_state(types, {"typing": True})
        assert_envelope(answer, type="ack", id="s", payload={"room": ROOM})
        typing = {"userId": str(user.pk), "state": {"typing": True}}
        for each in (types, sees):
            await each.assert_presence(ROOM, members=[typing, {"userId": str(editor.pk)}])
        await set_state(types, None)
        await eventually(lambda: state_of(sees, user) is None)


def state_of(connection, user):
    """The state of ``user`` as ``connection`` has been told; None if there is none."""
    (member,) = [
        each for each in connection.presence(ROOM).members if each["userId"] == str(user.pk)
    ]
    return member.get("state")


async def test_state_without_an_id_has_no_answer(user):
    async with Connection(user=user) as connection:
        await join(connection)
        await connection.send_frame(
            '{"type":"presence","timestamp":1,"payload":{"room":"page:1","state":{"x":1}}}'
        )
        await connection.assert_presence(ROOM, members=[{"state": {"x": 1}}])
        assert "ack" not in [each["type"] for each in connection.received]


async def test_state_is_there_for_who_comes_later(user, editor):
    async with Connection(user=user) as types, Connection(user=editor) as comes:
        await join(types)
        state = {"at": [1, 2.5, "é", None]}
        await set_state(types, state)
        await join(comes)
        await comes.assert_presence(ROOM, members=[{"state": state}, {"userId": str(editor.pk)}])


async def test_state_with_a_ttl_ends_by_itself(user, editor):
    async with Connection(user=user) as types, Connection(user=editor) as sees:
        await join(types)
        await join(sees)
        await set_state(types, {"typing": True}, ttl=0.8)
        await sees.assert_presence(ROOM, members=[{"state": {"typing": True}}, {}])
        await eventually(lambda: state_of(sees, user) is None)


@pytest.mark.parametrize(
    ("state", "more", "path"),
    [
        (5, {}, "state"),
        ("typing", {}, "state"),
        ([], {}, "state"),
        (True, {}, "state"),
        ({"text": "x" * 1014}, {}, "state"),
        ({"text": "é" * 507}, {}, "state"),
        ({}, {"ttl": 0}, "ttl"),
        ({}, {"ttl": -1}, "ttl"),
        ({}, {"ttl": 86_401}, "ttl"),
        ({}, {"ttl": "5"}, "ttl"),
        ({}, {"ttl": True}, "ttl"),
        ({}, {"ttl": None}, "ttl"),
    ],
)
async def test_malformed_state_changes_nothing(user, state, more, path):
    async with Connection(user=user) as connection:
        await join(connection)
        refusal = await set_state(connection, state, **more)
        assert_refusal(refusal, "INVALID_PAYLOAD", id="s", room=ROOM, path=path)
        assert (await found_members())[str(user.pk)].state is None
        assert await connection.is_alive()


async def test_largest_state_fits(user):
    async with Connection(user=user) as connection:
        await join(connection)
        assert (await set_state(connection, {"text": "x" * 1013}))["type"] == "ack"
        assert (await set_state(connection, {"n": 10**30}))["type"] == "ack"
        assert (await set_state(connection, None, ttl=86_400))["type"] == "ack"


async def test_connection_that_is_no_member_has_no_state(user):
    async with Connection(user=user) as unseen, Connection() as visitor:
        await join(unseen, "unseen")
        refusal = await set_state(unseen, {}, "unseen")
        assert_refusal(refusal, "FORBIDDEN", id="s", room="unseen")
        await join(visitor, "public")
        refusal = await set_state(visitor, {}, "public")
        assert_refusal(refusal, "FORBIDDEN", id="s", room="public")


class States(list):
    """The states that reach a store. It raises ``error`` once."""

    def __init__(self, store):
        self._set_state = store.set_state
        self.error = None

    async def set_state(self, room, key, state, ttl_seconds):
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.append(state)
        return await self._set_state(room, key, state, ttl_seconds)


@pytest.fixture
def states():
    """The states that reach the store in use."""
    store = get_presence_store()
    states = States(store)
    store.set_state = states.set_state
    yield states
    del store.set_state


async def test_latest_of_many_states_reaches_the_store(user, states):
    async with Connection(user=user) as connection:
        await join(connection)
        for number in range(30):
            assert (await set_state(connection, {"n": number}))["type"] == "ack"
        await connection.assert_presence(ROOM, members=[{"state": {"n": 29}}])
        assert states[0] == '{"n":0}'
        assert states[-1] == '{"n":29}'
        assert len(states) < 8


async def test_latest_state_is_written_before_its_connection_leaves(user, states):
    async with Connection(user=user) as first, Connection(user=user) as second:
        await join(first)
        await join(second)
        await set_state(first, {"typing": True})
        await set_state(first, None)
        await first.ask("unsubscribe", {"room": ROOM})
        assert states == ['{"typing":true}', None]
        await set_state(second, {"typing": True})
        await set_state(second, {"typing": False})
    assert states[-1] == '{"typing":false}'


async def test_state_that_the_store_did_not_take_is_written_later(user, states):
    async with Connection(user=user) as connection:
        await join(connection)
        await set_state(connection, {"n": 1})
        states.error = BackendError("away")
        await set_state(connection, {"n": 2})
        await eventually(lambda: states.error is None)
        await connection.assert_presence(ROOM, members=[{"state": {"n": 2}}])


async def test_client_hears_of_a_state_that_the_store_does_not_take(user, states):
    async with Connection(user=user) as connection:
        await join(connection)
        states.error = OutageError("away")
        refusal = await set_state(connection, {"n": 1})
        assert_refusal(refusal, "INTERNAL_ERROR", id="s")
        assert (await set_state(connection, {"n": 2}))["type"] == "ack"


async def test_states_over_the_rate_are_refused(user, configure):
    configure(RATE_LIMIT="10/m")
    async with Connection(user=user) as connection:
        await join(connection)
        answers = [await set_state(connection, {"n": number}) for number in range(51)]
        assert [each["type"] for each in answers] == ["ack"] * 50 + ["error"]
        assert answers[-1]["payload"]["code"] == "RATE_LIMITED"
        assert 0 < answers[-1]["payload"]["retryAfter"] <= 1000
        await connection.assert_presence(ROOM, members=[{"state": {"n": 49}}])
        assert await connection.is_alive()


async def test_flood_of_states_is_closed(user):
    async with Connection(user=user) as connection:
        await join(connection)
        for number in range(400):
            await connection.command("presence", {"room": ROOM, "state": {"n": number}})
        await connection.assert_closed(4003)
        await connection.assert_ended()


async def test_states_for_other_rooms_count_against_the_rate(user, configure):
    configure(RATE_LIMIT="5/m")
    async with Connection(user=user) as connection:
        codes = [
            (await set_state(connection, {}, f"page:{number}"))["payload"]["code"]
            for number in range(2, 8)
        ]
        assert codes == ["NOT_IN_ROOM"] * 5 + ["RATE_LIMITED"]


async def test_unchanged_state_is_not_told(user):
    async with Connection(user=user) as connection:
        await join(connection)
        await set_state(connection, {"x": 1})
        await connection.assert_presence(ROOM, members=[{"state": {"x": 1}}])
        await connection.so_far()
        await set_state(connection, {"x": 1})
        await assert_silence(connection)
