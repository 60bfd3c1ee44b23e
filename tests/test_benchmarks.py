"""The arithmetic of the benchmarks, their report, and one short measurement."""

import asyncio
import json
import sys
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest

from benchmarks import plots, report, results
from benchmarks.__main__ import arguments
from benchmarks.figures import figure, number, percentile, spread
from benchmarks.load.streams import Stream
from benchmarks.load.tally import NOTHING, Tally, make_body
from benchmarks.processes import Ground, Running
from benchmarks.results import Failure, Record, Results
from benchmarks.runs import Run
from benchmarks.systems import SYSTEMS
from benchmarks.targets import BUSY, ROOM, target_results, targets
from benchmarks.works import WORKS, fan_out
from benchmarks.works.base import Scale, Work, deliveries

OURS = SYSTEMS["ours"]
#: Without uvloop, which only the extra `bench` installs.
ON_ANY_LOOP = replace(
    OURS, command=[word for word in OURS.command if word not in ("--loop", "uvloop")]
)
SIZE = 20


@pytest.fixture(scope="module")
def ground():
    with closing(Ground(people=1)) as ground:
        yield ground


def test_percentile_is_a_measured_value():
    values = list(range(1, 201))
    assert [percentile(values, percent) for percent in (0.1, 50, 99, 100)] == [1, 100, 198, 200]
    assert percentile([7.5], 99) == 7.5


def test_figure_has_three_digits_and_its_range():
    assert [number(value) for value in (0, 0.0123, 1.234, 12.34, 123.4, 12345.6)] == [
        "0",
        "0.0123",
        "1.23",
        "12.3",
        "123",
        "12,346",
    ]
    assert spread(figure([3, 1, 2])) == "2.00 (1.00 to 3.00)"
    assert spread(figure([2.001, 2.002])) == "2.00"


def frame(*numbers, size=SIZE):
    """A frame of pm_realtime. Several numbers make a batch."""
    envelopes = [
        {"type": "message", "payload": {"room": "hall", "content": make_body(number, size)}}
        for number in numbers
    ]
    return json.dumps(envelopes[0] if len(envelopes) == 1 else envelopes).encode()


class Room:
    """A tally and its members. The test hands them their frames."""

    def __init__(self, members):
        self.tally = Tally(OURS.dialect, "hall")
        self.tally.size = SIZE
        self.members = [SimpleNamespace(position=0) for _ in range(members)]
        self.done = []
        self.tally.on_done = lambda tally, count: self.done.append(count)
        for member in self.members:
            self.tally.add(member)

    def publish(self, count):
        for _ in range(count):
            self.tally.publish()

    def give(self, member, data):
        tally = self.tally
        tally.move(self.members[member], tally.spans.get(data) or tally.read(data))

    @property
    def faults(self):
        return self.tally.lost, self.tally.disordered, self.tally.damaged


def test_message_is_done_when_its_last_member_has_it():
    room = Room(3)
    room.publish(2)
    for member in (0, 1):
        room.give(member, frame(0))
        room.give(member, frame(1))
    assert room.done == []
    room.give(2, frame(0))
    assert room.done == [1]
    room.give(2, frame(1))
    assert room.done == [1, 1]
    assert len(room.tally.to_last) == 2
    assert room.faults == (0, 0, 0)


def test_batches_may_differ_between_members():
    room = Room(2)
    room.publish(4)
    for numbers in ((0, 1, 2), (3,)):
        room.give(0, frame(*numbers))
    for numbers in ((0,), (1, 2, 3)):
        room.give(1, frame(*numbers))
    assert sum(room.done) == 4
    assert room.faults == (0, 0, 0)


def test_frame_is_parsed_once():
    room = Room(2)
    room.publish(1)
    room.give(0, frame(0))
    room.tally.dialect = None
    room.give(1, frame(0))
    assert room.done == [1]


@pytest.mark.parametrize(
    ("frames", "faults"),
    [
        ([frame(0), frame(2)], (1, 0, 0)),
        ([frame(0), frame(0), frame(1), frame(2)], (0, 1, 0)),
        ([frame(1), frame(0), frame(2)], (1, 1, 0)),
        ([frame(0, 2)], (1, 0, 0)),
        ([frame(1, 0, 2)], (1, 1, 0)),
        ([frame(0), frame(1), frame(2), frame(3)], (0, 1, 0)),
        ([frame(0).replace(b"xx", b"xy"), frame(1), frame(2)], (0, 0, 1)),
    ],
    ids=["gap", "twice", "swapped", "gap in a batch", "swapped in a batch", "unsent", "damaged"],
)
def test_lost_disordered_and_damaged_messages_are_counted(frames, faults):
    room = Room(1)
    room.publish(3)
    for each in frames:
        room.give(0, each)
    assert room.faults == faults
    assert room.members[0].position == 3


def test_frame_of_another_type_is_no_message():
    room = Room(1)
    assert room.tally.read(b'{"type":"pong","timestamp":0}') is NOTHING


def test_missing_messages_count_as_lost_and_the_next_one_counts_again():
    room = Room(2)
    room.publish(2)
    room.give(0, frame(0))
    assert room.tally.give_up(room.members) == 3
    assert room.tally.lost == 3
    assert sum(room.done) == 2
    room.publish(1)
    for member in (0, 1):
        room.give(member, frame(2))
    assert sum(room.done) == 3


class Loopback:
    """Delivers each message a turn of the loop later, except those numbered in ``drops``."""

    def __init__(self, rooms, drops=(), **options):
        self.rooms, self.drops = {room.tally: room for room in rooms}, drops
        tallies = [room.tally for room in rooms]
        self.stream = Stream(tallies, self.publish, self.give_up, **options)
        self.most_in_flight = 0

    def publish(self, tally, body):
        self.most_in_flight = max(self.most_in_flight, self.stream.under_way)
        if int(body[:10]) not in self.drops:
            asyncio.get_running_loop().call_soon(self.deliver, self.rooms[tally], int(body[:10]))

    def deliver(self, room, published):
        for member in range(len(room.members)):
            room.give(member, frame(published))

    def give_up(self, tally):
        tally.give_up(self.rooms[tally].members)


@pytest.mark.parametrize(("rooms", "in_flight"), [(1, 1), (1, 4), (5, 3)])
async def test_stream_keeps_the_given_number_of_messages_in_flight(rooms, in_flight):
    loopback = Loopback([Room(2) for _ in range(rooms)])
    await loopback.stream.keep(in_flight, 0.05)
    assert loopback.most_in_flight == in_flight
    assert loopback.stream.done == loopback.stream.published > 20
    assert not loopback.stream.stalls
    published = [tally.next for tally in loopback.rooms]
    assert max(published) - min(published) <= 1


async def test_stream_continues_after_a_lost_message():
    room = Room(2)
    loopback = Loopback([room], drops={0}, stall_seconds=0.3)
    await loopback.stream.keep(1, 0.6)
    assert loopback.stream.stalls == 1
    assert room.tally.lost == 2
    assert loopback.stream.published > 1


async def test_paced_stream_ends_when_all_messages_have_arrived():
    room = Room(2)
    loopback = Loopback([room])
    await loopback.stream.pace(1000, 20)
    assert loopback.stream.done == loopback.stream.published == 20
    assert loopback.stream.ended - loopback.stream.began >= 19 / 1000


def fake_results(**ours):
    """Results of two rounds. Every value is 100, but for our values that are given by work."""
    found = Results(
        when="2030-01-02T03:04:05+00:00",
        seconds=90,
        options={"rounds": 2, "quick": False},
        machine={"cpu": "A", "cores": "2", "memory": "B", "kernel": "C", "python": "D"},
        systems={
            name: {"title": system.title, "versions": ["x 1"]} for name, system in SYSTEMS.items()
        },
    )
    for target in targets(2):
        for quantity in filter(None, (target.ours, target.theirs)):
            is_ours = quantity.system.startswith(("ours", "send_to_room"))
            value = ours.get(quantity.work, 100.0) if is_ours else 100.0
            for turn, factor in enumerate((0.9, 1.1)):
                record = Record(
                    quantity.work,
                    quantity.system,
                    dict(quantity.case),
                    {quantity.value: value * factor},
                    turn,
                )
                found.records.append(record)
    return found


def test_target_is_met_or_missed_or_not_measured():
    found = fake_results(connect=70.0, idle=120.0)
    found.records = [record for record in found.records if record.system != "nchan"]
    by_target = {result.target.what: result for result in target_results(found)}
    connect, idle, nchan = (
        next(result for what, result in by_target.items() if word in what)
        for word in ("a connect", "idle", "Nchan")
    )
    assert connect.is_met
    assert connect.ratio == pytest.approx(0.7)
    assert not idle.is_met
    assert not nchan.is_met
    assert nchan.ratio is None
    text = report.targets_table(found)
    assert text.count("| met |") == sum(result.is_met for result in by_target.values())
    assert text.count("not measured") == 1


def test_two_processes_are_compared_by_throughput_from_three_cores_on():
    assert [targets(cores)[-1].ours.value for cores in (1, 2, 3, 8)] == [
        "cpu_us",
        "cpu_us",
        "rate",
        "rate",
    ]


def test_results_are_saved_and_loaded(tmp_path):
    found = fake_results()
    found.save(tmp_path / "results.json")
    assert results.load(tmp_path / "results.json") == found
    (tmp_path / "old.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="format 1"):
        results.load(tmp_path / "old.json")


def test_page_has_the_figures_and_names_missing_systems():
    found = fake_results()
    found.missing["Nchan in nginx"] = "No nginx: get it."
    found.records[0].values |= {"lost": 7, "disordered": 0, "damaged": 0, "stalls": 1}
    text = report.page(found)
    assert "{{" not in text
    assert "100 (90.0 to 110)" in text
    assert "- Nchan in nginx: No nginx: get it." in text
    assert "| 7 | 0 | 0 | 1 |" in text
    assert "2030-01-02" in text


def test_tables_are_sorted_by_cost():
    found = fake_results(fan_out=50.0)
    rows = [line.split(" | ") for line in report.table(found, "fan_out").splitlines()[2:]]
    costs = [float(row[1].split()[0]) for row in rows if row[1] != "-"]
    assert all(one <= other for one, other in pairwise(costs))
    assert {record.case["in_flight"] for record in found.records if record.work == "fan_out"} == {
        ROOM["in_flight"],
        BUSY["in_flight"],
    }


def test_published_page_matches_the_published_results():
    assert report.PAGE.read_text() == report.page(results.load(report.PUBLISHED))


def test_command_line_selects_works_and_systems(capsys):
    chosen = arguments(["--only", "push,idle", "--systems", "ours", "--quick"])
    assert (chosen.only, chosen.systems, chosen.quick) == (["push", "idle"], ["ours"], True)
    assert arguments([]).only == list(WORKS)
    with pytest.raises(SystemExit):
        arguments(["--systems", "hours"])
    assert "got hours" in capsys.readouterr().err


def test_systems_name_exactly_the_known_works():
    assert {work for system in SYSTEMS.values() for work in system.works} == set(WORKS)


def answer(**fields):
    """The report of the load generator about a stream without faults."""
    names = ("lost", "disordered", "damaged", "stalls", "others")
    found = {"deliveries": 1000, "seconds": 2.0, "cpu": 1.0, "load_cpu": 1.0, "messages": 10}
    return found | dict.fromkeys(names, 0) | {"last_p50": 0.004} | fields


def test_record_has_the_cost_of_a_delivery():
    values = deliveries("push", OURS, {}, answer()).values
    assert values["rate"] == values["core_rate"] == 500
    assert values["cpu_us"] == values["load_us"] == 1000
    assert values["last_p50"] == 4
    assert "redis_us" not in values


def test_core_rate_is_computed_if_the_load_generator_is_the_limit():
    values = deliveries("push", OURS, {}, answer(load_cpu=1.9)).values
    assert values["rate"] == 500
    assert values["core_rate"] == 1000


def test_failure_is_recorded_if_nothing_arrives():
    found = deliveries("push", OURS, {"rate": 10}, answer(deliveries=0))
    assert isinstance(found, Failure)
    assert "nothing arrived" in found.why


def test_failed_work_is_recorded_and_the_run_continues(ground):
    broken = replace(OURS, command=(sys.executable, "-c", "raise SystemExit('no such thing')"))
    found = Results()
    Run(ground, found, Scale()).measure(WORKS["fan_out"], broken, 0)
    assert [(each.system, each.work) for each in found.failures] == [("ours", "fan_out")]
    assert "ended with 1" in found.failures[0].why


def test_fan_out_to_five_connections_is_measured(ground):
    found = Results()
    run = Run(ground, found, Scale(seconds=0.1, crowds=(5,), in_flight=(1, 4)))
    run.measure_all([Work("fan_out", fan_out.measure)], [ON_ANY_LOOP], 1)
    assert not found.failures
    assert [record.case["in_flight"] for record in found.records] == [1, 4]
    for record in found.records:
        assert record.values["messages"] > 5
        assert record.values["rate"] > 0
        assert record.values["last_p99"] > 0
        assert not record.values["lost"] + record.values["disordered"] + record.values["damaged"]


def test_system_stops_with_all_its_children(ground):
    running = Running(ground, ON_ANY_LOOP)
    assert running.memory() > 1e6
    assert running.cpu() > 0
    running.stop()
    assert running.processes[0].returncode is not None
    assert running.memory() == 0


def test_every_plot_is_drawn(tmp_path):
    drawn = plots.draw(fake_results(), tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(drawn) == set(plots.PLOTS)
    assert all(path.read_text().startswith("<?xml") for path in tmp_path.iterdir())


def test_works_of_a_later_run_take_the_place_of_former_ones():
    former, later = fake_results(), fake_results(connect=50.0)
    later.records = [record for record in later.records if record.work == "connect"]
    later.when = "2031-01-02T03:04:05+00:00"
    former.replace(later)
    assert former.median("connect", "ours", "cpu_us") == 50
    assert former.median("idle", "ours", "memory_kb") == 100
    assert former.when[:4] == "2030"
    assert "Measured again on 2031-01-02, in one run of 1.50 minutes: connect." in report.run(
        former
    )
