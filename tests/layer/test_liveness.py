"""A hub notices that its messages do not arrive, and adds its groups again."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from pm_realtime import asend_to_room
from pm_realtime.exceptions import OutageError
from pm_realtime.hub import Hub, Joining, get_hub, use_hub
from pm_realtime.layer import ProbeTimings, adapter_for, control_group, get_layer, room_group
from pm_realtime.layer.adapter import GuardedCalls, calls_of_loop
from pm_realtime.layer.wire import PROBE_TYPE
from pm_realtime.observability import outage
from tests.support.far_layer import FarLayer
from tests.support.helpers import Connection, assert_refusal, eventually
from tests.support.hubs import Member, send

PROBE_TIMEOUT_SECONDS = 0.05


@pytest.fixture(autouse=True)
async def fast():
    """The hub of this loop probes ten times as fast."""
    timings = ProbeTimings(
        interval_seconds=0.2, timeout_seconds=PROBE_TIMEOUT_SECONDS, down_after_seconds=0.2
    )
    use_hub(Hub(probe_timings=timings))
    calls_of_loop.set(GuardedCalls(timeout_seconds=0.15))


@asynccontextmanager
async def member_of(*groups):
    """The hub of this loop with one member."""
    hub, member = get_hub(), Member("1")
    await hub.add(member)
    await hub.join_all(member, [Joining(group) for group in groups])
    yield hub, member
    await hub.remove(member)
    assert not outage.is_watched


def probes(layer):
    return [message for _, message in layer.sent if message["type"] == PROBE_TYPE]


@asynccontextmanager
async def repeated(work):
    """``work``, which does not end by itself, goes on in a task."""
    task = asyncio.create_task(work())
    yield
    task.cancel()
    await asyncio.wait([task])


async def until_down(hub):
    await eventually(lambda: not hub.channel.is_healthy and outage.lost)


async def until_healthy(hub):
    await eventually(lambda: hub.channel.is_healthy)


async def suspect(hub):
    outage.suspect()
    await asyncio.sleep(0)
    assert not hub.channel.is_healthy


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"]


async def test_hub_probes_again_and_again(far):
    async with member_of("g") as (hub, _):
        await eventually(lambda: len(probes(far)) >= 6)
        assert hub.channel.is_healthy
        (group,) = far.groups.keys() - {control_group(), "g"}
        assert [message["group"] for message in probes(far)].count(group) >= 3


async def test_unfounded_suspicion_causes_no_recheck():
    async with member_of("g") as (hub, member):
        await suspect(hub)
        await until_healthy(hub)
        assert member.rechecks == 0


async def test_hub_that_stops_leaves_nothing(far):
    async with member_of("g"):
        pass
    assert far.groups == {}
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_layer_of_this_process_is_not_probed(settings):
    settings.CHANNEL_LAYERS = {}
    async with member_of("g"):
        assert set(get_layer().groups) == {control_group(), "g"}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("is_away", "ConnectionError: the layer is away"),
        ("is_frozen", "no answer within 0.15 s"),
        ("is_deaf", "messages that are sent do not arrive"),
    ],
)
async def test_groups_are_added_again_after_an_outage(far, caplog, failure, reason):
    async with member_of("g") as (hub, member):
        setattr(far, failure, True)
        await until_down(hub)
        far.forget_groups()
        setattr(far, failure, False)
        await until_healthy(hub)
        # Here is no stream of control messages to tell whether some were lost.
        assert member.rechecks >= 1
        await send("g", "after")
        await eventually(lambda: member.received == ["after"])
    first, last = lines(caplog)
    assert first.startswith(f"Lost the channel layer: {reason}. Open connections stay open; ")
    assert last.startswith("Back after 0.")


async def test_groups_lost_without_an_error_are_added_again(far):
    async with member_of("g") as (hub, _):
        before = len(probes(far))
        far.forget_groups()
        await eventually(lambda: "g" in far.groups)
        await until_healthy(hub)
        assert len(probes(far)) > before


async def test_late_probe_is_no_outage(far, caplog):
    async with member_of("g") as (hub, _):
        far.is_deaf = True
        await eventually(lambda: not hub.channel.is_healthy)
        far.is_deaf = False
        await until_healthy(hub)
    assert lines(caplog) == []


async def test_probe_behind_other_messages_is_late_and_not_lost(far, caplog):
    async with member_of("g") as (hub, member):
        far.lost_types = {PROBE_TYPE}
        for number in range(30):
            await send("g", str(number))
            await asyncio.sleep(PROBE_TIMEOUT_SECONDS / 2)
        assert hub.channel.is_healthy
        far.lost_types = ()
        assert len(member.received) == 30
    assert lines(caplog) == []


async def test_calls_fail_at_once_during_an_outage(far):
    async with member_of("g") as (hub, member):
        far.is_frozen = True
        await until_down(hub)
        async with asyncio.timeout(0.05):
            for call in (
                lambda: adapter_for(far).group_send("g", {}),
                lambda: adapter_for(far).group_add("h", "channel"),
                lambda: hub.join(member, "h"),
                lambda: asend_to_room("r", "news"),
            ):
                with pytest.raises(OutageError, match=r"^The channel layer: "):
                    await call()
        far.is_frozen = False
        await until_healthy(hub)
        await hub.join(member, "h")
        assert "h" in far.groups


async def test_callers_that_fail_do_not_prolong_an_outage(far):
    """A call that is refused reports a failure while each probe is on its way."""

    async def push_all_the_time():
        while True:
            with suppress(OutageError):
                await asend_to_room("r", "news")
            await asyncio.sleep(0)

    async with member_of("g") as (hub, member), repeated(push_all_the_time):
        far.is_away = True
        await until_down(hub)
        far.is_away = False
        await until_healthy(hub)
        await hub.join(member, "h")


async def test_join_succeeds_while_other_calls_fail(far):
    async def suspect_all_the_time():
        while True:
            outage.suspect()
            await asyncio.sleep(0)

    async with member_of("g") as (hub, member), repeated(suspect_all_the_time):
        await hub.join(member, "h")
        assert not hub.channel.is_healthy
    assert not outage.lost


async def test_stale_group_costs_little_while_the_layer_is_suspect(far, monkeypatch):
    added = []

    async def add(group, channel):
        added.append(group)
        await FarLayer.group_add(far, group, channel)

    async with member_of("g") as (hub, _):
        monkeypatch.setattr(far, "group_add", add)
        hub.channel.note_stale("stale")
        for _ in range(5):
            before = len(probes(far))
            outage.suspect()
            await eventually(lambda before=before: len(probes(far)) > before)
            await until_healthy(hub)
        assert added == ["stale"]
        assert "stale" not in far.groups


async def test_join_waits_for_a_probe_while_the_layer_is_suspect(far):
    async with member_of("g") as (hub, _):
        second = Member("2")
        await hub.add(second)
        await suspect(hub)
        before = len(probes(far))
        await hub.join(second, "g")
        assert hub.channel.is_healthy
        assert len(probes(far)) > before
        await hub.remove(second)


async def test_group_whose_leave_failed_is_left_after_the_outage(far):
    async with member_of("g", "h") as (hub, member):
        far.is_away = True
        await hub.leave(member, "h")
        assert "h" in far.groups
        far.is_away = False
        await eventually(lambda: "h" not in far.groups)


# For a client


async def test_commands_are_refused_during_an_outage_and_work_after_it(far, user, caplog):
    async with Connection(user=user) as connection:
        await connection.subscribe("here")
        far.is_away = True
        await until_down(get_hub())
        refusal = await connection.ask("subscribe", {"room": "there"}, id="1")
        assert_refusal(refusal, "INTERNAL_ERROR", id="1")
        refusal = await connection.ask("message", {"room": "here", "content": 1}, id="2")
        assert_refusal(refusal, "INTERNAL_ERROR", id="2")
        assert await connection.is_alive()
        assert (await connection.ask("unsubscribe", {"room": "here"}))["type"] == "unsubscribed"
        far.forget_groups()
        far.is_away = False
        await until_healthy(get_hub())
        await connection.subscribe("here")
        await asend_to_room("here", "news", 1)
        await connection.assert_push("news", 1)
        assert room_group("there") not in far.groups
    assert len(lines(caplog)) == 2


async def test_handshake_during_an_outage_closes_with_4013(far, user):
    async with Connection(user=user):
        far.is_away = True
        await until_down(get_hub())
        second = Connection(user=user)
        await second.connect()
        await second.assert_closed(4013)
        far.is_away = False
        await until_healthy(get_hub())
        async with Connection(user=user) as third:
            assert await third.is_alive()


async def test_busy_loop_is_no_outage(far, busy_loop, caplog):
    async with member_of("g") as (hub, member), busy_loop(PROBE_TIMEOUT_SECONDS):
        for _ in range(2):
            outage.suspect()
            await asyncio.sleep(5 * PROBE_TIMEOUT_SECONDS)
        other = Member("2")
        await hub.add(other)
        await hub.join(other, "another")
        await hub.remove(other)
        assert member.rechecks == 0
    assert lines(caplog) == []
