"""Whether a hub notices that the layer does not bring what is sent, and what it does then."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from pm_realtime import asend_to_room
from pm_realtime.exceptions import OutageError
from pm_realtime.hub import get_hub
from pm_realtime.layer import control_group, guarded_calls, liveness, local, room_group
from pm_realtime.layer.wire import PROBE_TYPE, PUSH_TYPE
from pm_realtime.observability import outage
from tests.support.helpers import Connection, assert_refusal, eventually
from tests.support.hubs import Member

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def hasty(monkeypatch):
    """Everything of an echo takes a tenth of its time."""
    for name in ("INTERVAL", "PATIENCE", "TIMEOUT"):
        monkeypatch.setattr(liveness, name, getattr(liveness, name) / 10)
    monkeypatch.setattr(guarded_calls, "TIMEOUT", guarded_calls.TIMEOUT / 10)


@asynccontextmanager
async def member_of(*groups):
    """A member of the hub of this loop."""
    hub, member = get_hub(), Member("1")
    await hub.add(member, groups)
    yield hub, member
    await hub.remove(member)
    assert not outage.is_watched


def echoes(layer):
    return [message for _, message in layer.sent if message["type"] == PROBE_TYPE]


async def lost(hub):
    await eventually(lambda: not hub._channel.probe.is_healthy and hub._channel.probe._error)


async def heard(hub):
    await eventually(lambda: hub._channel.probe.is_healthy)


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"]


async def test_a_hub_hears_itself_again_and_again(far):
    async with member_of("g") as (hub, _):
        await eventually(lambda: len(echoes(far)) >= 3)
        assert hub._channel.probe.is_healthy
        assert far.groups.keys() - {control_group(), "g"} == set(hub._channel.probe._groups)


async def test_a_doubt_that_was_none_has_nobody_looked_at():
    async with member_of("g") as (hub, member):
        hub._channel.probe.doubt()
        await heard(hub)
        assert member.rechecks == 0


async def test_a_hub_that_stops_leaves_nothing(far):
    async with member_of("g"):
        pass
    assert far.groups == {}
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_a_layer_of_this_process_is_sent_no_echo(settings):
    settings.CHANNEL_LAYERS = {}
    async with member_of("g"):
        assert set(local.get_layer().groups) == {control_group(), "g"}


@pytest.mark.parametrize("way", ["is_away", "is_frozen", "is_deaf"])
async def test_a_layer_that_is_lost_is_noticed_and_its_groups_are_added_anew(far, caplog, way):
    async with member_of("g") as (hub, member):
        setattr(far, way, True)
        await lost(hub)
        far.forget_groups()
        setattr(far, way, False)
        await heard(hub)
        await guarded_calls.group_send(far, "g", {"type": PUSH_TYPE, "group": "g", "text": "after"})
        await eventually(lambda: member.received == ["after"])
    first, last = lines(caplog)
    assert first.startswith("Lost the channel layer: ")
    assert last.startswith("Back after 0.")


async def test_groups_forgotten_in_silence_are_noticed(far):
    async with member_of("g") as (hub, _):
        before = len(echoes(far))
        far.forget_groups()
        await eventually(lambda: "g" in far.groups)
        await heard(hub)
        assert len(echoes(far)) > before


async def test_a_late_echo_is_no_outage(far, caplog):
    async with member_of("g") as (hub, _):
        far.is_deaf = True
        await eventually(lambda: not hub._channel.probe.is_healthy)
        far.is_deaf = False
        await heard(hub)
    assert lines(caplog) == []


async def test_while_it_is_lost_steps_fail_at_once(far):
    async with member_of("g") as (hub, member):
        far.is_frozen = True
        await lost(hub)
        async with asyncio.timeout(0.05):
            for step in (
                lambda: guarded_calls.group_send(far, "g", {}),
                lambda: guarded_calls.group_add(far, "h", "channel"),
                lambda: hub.join(member, "h"),
                lambda: asend_to_room("r", "news"),
            ):
                with pytest.raises(OutageError):
                    await step()
        far.is_frozen = False
        await heard(hub)
        await hub.join(member, "h")
        assert "h" in far.groups


async def test_who_joins_while_there_is_a_doubt_waits_for_the_echo(far):
    async with member_of("g") as (hub, _):
        second = Member("2")
        await hub.add(second, [])
        outage.suspect()
        await asyncio.sleep(0)
        assert not hub._channel.probe.is_healthy
        before = len(echoes(far))
        await hub.join(second, "g")
        assert hub._channel.probe.is_healthy
        assert len(echoes(far)) > before
        await hub.remove(second)


async def test_a_group_whose_leaving_failed_is_left_when_the_layer_is_back(far):
    async with member_of("g", "h") as (hub, member):
        far.is_away = True
        await hub.leave(member, "h")
        assert "h" in far.groups
        far.is_away = False
        await eventually(lambda: "h" not in far.groups)


# Seen by a client


async def test_commands_are_refused_while_the_layer_is_away_and_work_when_it_is_back(
    far, user, caplog
):
    async with Connection(user=user) as connection:
        await connection.subscribe("here")
        far.is_away = True
        await lost(get_hub())
        refusal = await connection.ask("subscribe", {"room": "there"}, id="1")
        assert_refusal(refusal, "INTERNAL_ERROR", id="1")
        refusal = await connection.ask("message", {"room": "here", "content": 1}, id="2")
        assert_refusal(refusal, "INTERNAL_ERROR", id="2")
        assert await connection.is_alive()
        assert (await connection.ask("unsubscribe", {"room": "here"}))["type"] == "unsubscribed"
        far.forget_groups()
        far.is_away = False
        await heard(get_hub())
        await connection.subscribe("here")
        await asend_to_room("here", "news", 1)
        await connection.assert_push("news", 1)
        assert room_group("there") not in far.groups
    assert len(lines(caplog)) == 2


async def test_a_handshake_while_the_layer_is_away_is_told_to_come_back(far, user):
    async with Connection(user=user):
        far.is_away = True
        await lost(get_hub())
        second = Connection(user=user)
        await second.connect()
        await second.assert_closed(4013)
        far.is_away = False
        await heard(get_hub())
        async with Connection(user=user) as third:
            assert await third.is_alive()


async def test_an_echo_behind_other_messages_is_late_and_not_lost(far, caplog, monkeypatch):
    async with member_of("g") as (hub, member):
        arrived = hub._channel.probe.hear
        monkeypatch.setattr(hub._channel.probe, "hear", lambda message: None)
        for n in range(30):
            await guarded_calls.group_send(
                far, "g", {"type": PUSH_TYPE, "group": "g", "text": str(n)}
            )
            await asyncio.sleep(liveness.PATIENCE / 2)
        assert hub._channel.probe.is_healthy
        monkeypatch.setattr(hub._channel.probe, "hear", arrived)
        assert len(member.received) == 30
    assert lines(caplog) == []
