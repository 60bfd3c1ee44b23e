"""Pushes from the processes, threads and loops of workers: ``python -m tests.site.jobs NAME``.

Each job pushes ``{"n": …}`` to the room ``open``, from 0 upward, and prints the number of pushes.
"""

import asyncio
import itertools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import django

django.setup()

from pm_realtime import aget_stats, asend_to_room, get_history, get_stats, send_to_room  # noqa: E402


def push(number: int) -> None:
    send_to_room("open", "job", {"n": number})


async def apush(number: int) -> None:
    await asend_to_room("open", "job", {"n": number})
    if number % 10 == 0:
        await aget_stats()


def forks() -> int:
    """Push from the parent first and last, and from 100 children in between."""
    push(0)
    for number in range(1, 101):
        push_in_child(number)
    get_stats()
    push(101)
    return 102


def forks_beside_threads() -> int:
    """Push from 100 children while four threads of the parent push all the time."""
    numbers = itertools.count()
    is_over = threading.Event()

    def push_on() -> None:
        while not is_over.wait(0.002):
            push(next(numbers))

    with ThreadPoolExecutor(4) as executor:
        pushing = [executor.submit(push_on) for _ in range(4)]
        for _ in range(100):
            push_in_child(next(numbers))
        is_over.set()
        for each in pushing:
            each.result()
    return next(numbers)


def push_in_child(number: int) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            push(number)
            if number % 10 == 0:
                get_stats()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def prefork() -> int:
    """Push from four children at once, as the workers of Celery, which the parent forks once."""
    push(0)
    children = []
    for first in range(1, 200, 50):
        if (child := os.fork()) == 0:
            status = 1
            try:
                for number in range(first, first + 50):
                    push(number)
                get_history("open", limit=1)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    return 201


def keys() -> int:
    """Push 1,000 numbers, each under a key of its own."""
    for number in range(1000):
        send_to_room("open", "job", {"n": number}, idempotency_key=f"job {number}")
    return 1000


def loops() -> int:
    """Push from one event loop after another, and from the thread itself in between."""
    for number in range(0, 50, 2):
        asyncio.run(apush(number))
        push(number + 1)
    return 50


def pool() -> int:
    """Push from short-lived threads, every second time in an event loop of its own."""
    for start in range(0, 200, 40):
        with ThreadPoolExecutor(8) as executor:
            list(executor.map(push_or_apush, range(start, start + 40)))
    return 200


def push_or_apush(number: int) -> None:
    if number % 2:
        asyncio.run(apush(number))
    else:
        push(number)


JOBS: dict[str, Callable[[], int]] = {
    job.__name__: job for job in (forks, forks_beside_threads, keys, loops, pool, prefork)
}

if __name__ == "__main__":
    print(JOBS[sys.argv[1]]())
