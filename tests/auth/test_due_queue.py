"""Each item is due once, at the time that was set last."""

import weakref

import pytest

from pm_realtime.auth.due_queue import DueQueue


@pytest.fixture
def queue():
    return DueQueue()


def test_items_are_due_in_the_order_of_their_times(queue):
    for item, due_at in {"c": 3, "a": 1, "b": 2}.items():
        queue.put(item, due_at)
    assert queue.take_due(0) == []
    assert queue.take_due(2) == ["a", "b"]
    assert queue.take_due(2) == []
    assert queue.take_due(3) == ["c"]


def test_items_with_the_same_time_need_no_order(queue):
    items = [object(), object(), object()]
    for item in items:
        queue.put(item, 1)
    assert queue.take_due(1) == items


@pytest.mark.parametrize("due_at", [1, 3])
def test_another_time_replaces_the_first(queue, due_at):
    queue.put("a", 2)
    queue.put("a", due_at)
    assert queue.take_due(due_at - 0.5) == []
    assert queue.take_due(5) == ["a"]
    assert queue.take_due(5) == []


def test_put_tells_whether_the_item_is_the_next(queue):
    assert queue.next_at is None
    assert queue.put("a", 2) is True
    assert queue.put("b", 3) is False
    assert queue.put("c", 1) is True
    assert queue.put("c", 1) is False
    assert queue.next_at == 1


def test_discarded_item_is_not_due_and_may_come_back(queue):
    queue.put("a", 1)
    queue.discard("a")
    queue.discard("never there")
    assert queue.take_due(1) == []
    queue.put("a", 1)
    assert queue.take_due(1) == ["a"]


def test_discarded_item_is_not_kept_alive(queue):
    class Item:
        pass

    item = Item()
    trace = weakref.ref(item)
    queue.put(item, 1)
    queue.put(item, 2)
    queue.discard(item)
    del item
    assert trace() is None


def test_replaced_times_do_not_pile_up(queue):
    for number in range(10_000):
        queue.put("a", number)
        queue.put("b", 10_000 - number)
    assert len(queue) < 200
    assert queue.take_due(20_000) == ["b", "a"]
