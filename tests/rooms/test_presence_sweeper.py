"""The sweeper of an event loop tells rooms, announces departures, and outlives failures."""

import pytest

from pm_realtime.backends import Departure, Sweep, get_backend
from pm_realtime.backends.memory_presence import MemoryPresence
from pm_realtime.exceptions import OutageError
from pm_realtime.layer import room_group
from pm_realtime.rooms.presence_sweeper import Sweeper, SweepPace
from tests.support.helpers import errors_of, eventually
from tests.support.hubs import Member, members

pytestmark = pytest.mark.usefixtures("memory_layer", "leaves_nothing")

GONE = Departure("r", "x", "x", 1.0)


class Store(MemoryPresence):
    """Its sweeps return what a test has put in."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.sweeps = 0
        self.is_away = False

    async def sweep(self):
        self.sweeps += 1
        if self.is_away:
            raise OutageError("the store is away")
        return self.found.pop(0) if self.found else Sweep()


@pytest.fixture
async def store():
    get_backend().presence = store = Store()
    return store


class Recorded:
    """A sweeper that looks each 20 ms, and its calls."""

    def __init__(self):
        self.announced = []
        self.returns = 0
        self.sweeper = Sweeper(self.announce, self.note_return, SweepPace(interval_seconds=0.02))

    def announce(self, found):
        self.announced += found

    def note_return(self):
        self.returns += 1


@pytest.fixture
async def recorded(store):
    recorded = Recorded()
    yield recorded
    recorded.sweeper.forget()


async def test_each_departure_is_announced_and_each_room_told(store, recorded):
    heard = []

    class Observer:
        def note_change(self, room):
            heard.append(room)

        def note_doubt(self):
            pass

    async with members(Member("a"), groups=[room_group("r")]) as hub:
        hub.follower.presence = Observer()
        store.found.append(Sweep([GONE], ["r"]))
        recorded.sweeper.start()
        await eventually(lambda: heard == ["r"])
        assert recorded.announced == [GONE]


async def test_a_store_that_was_away_is_swept_again_and_its_return_is_noted(
    store, recorded, caplog
):
    store.is_away = True
    recorded.sweeper.start()
    await eventually(lambda: store.sweeps > 2)
    assert recorded.returns == 0
    store.is_away = False
    store.found.append(Sweep([GONE]))
    await eventually(lambda: recorded.announced == [GONE])
    assert recorded.returns == 1
    assert errors_of(caplog) == []


async def test_an_error_of_a_receiver_does_not_end_it(store, recorded, caplog):
    def broken(found):
        recorded.announced += found
        raise RuntimeError("broken")

    recorded.sweeper._announce = broken
    recorded.sweeper.start()
    await eventually(lambda: errors_of(caplog))
    sweeps = store.sweeps
    await eventually(lambda: store.sweeps > sweeps + 2)
    assert len(errors_of(caplog)) == 1


async def test_it_stays_until_nothing_is_to_be_done(store, recorded):
    """Others may die once the last connection of this process has gone."""
    store.found = [Sweep(next_seconds=10) for _ in range(1000)]
    recorded.sweeper.start()
    await eventually(lambda: store.sweeps)
    recorded.sweeper.stop()
    sweeps = store.sweeps
    await eventually(lambda: store.sweeps > sweeps + 2)
    store.found = []
    await eventually(lambda: recorded.sweeper._task is None)


def test_grace_that_begins_during_a_sweep_is_not_left():
    pace = SweepPace()
    pace.begin_sweep()
    pace.note_due(11, is_own=True)
    pace.note_sweep(10.1, next_seconds=None)
    assert pace.has_more
    pace.begin_sweep()
    pace.note_sweep(11.1, next_seconds=None)
    assert not pace.has_more


def test_graces_that_end_within_a_moment_are_carried_out_together():
    pace = SweepPace()
    pace.note_sweep(10.001, next_seconds=0.002)
    pace.note_due(10.01, is_own=False)
    assert pace.next_at == pytest.approx(10.051)
    pace.note_sweep(10.052, next_seconds=0.4)
    assert pace.next_at == pytest.approx(10.452)
    # More than one sweep carries out is due now.
    pace.note_sweep(10.453, next_seconds=0)
    assert pace.next_at == 10.453


def test_next_sweep_is_earlier_if_something_is_due():
    pace = SweepPace(interval_seconds=1)
    pace.note_sweep(5, next_seconds=None)
    assert pace.next_at == 6
    pace.note_due(5.5, is_own=False)
    assert pace.next_at == pytest.approx(5.5, abs=0.01)
    pace.note_sweep(5.7, next_seconds=100)
    assert pace.next_at == pytest.approx(6.7)
    pace.note_failure(7)
    assert pace.next_at == 8
    assert pace.has_more
