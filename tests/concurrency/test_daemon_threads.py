"""Threads for calls that may never return."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from queue import SimpleQueue

import pytest

from pm_realtime.concurrency import DaemonThreads
from tests.support.helpers import log_lines

TIMEOUT_SECONDS = 10


@pytest.fixture
def threads():
    threads = DaemonThreads(3, "test")
    yield threads
    threads.shutdown()


def test_result_or_error_of_a_call_is_that_of_its_future(threads):
    assert threads.submit(divmod, 7, 3).result(TIMEOUT_SECONDS) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result(TIMEOUT_SECONDS)


async def test_event_loop_runs_calls_in_them(threads):
    loop = asyncio.get_running_loop()
    names = await asyncio.gather(
        *(loop.run_in_executor(threads, lambda: threading.current_thread().name) for _ in range(9))
    )
    assert set(names) <= {"test_0", "test_1", "test_2"}


def test_idle_thread_is_used_again_and_no_more_than_the_maximum_is_started(threads):
    before = threading.active_count()
    for _ in range(20):
        threads.submit(int).result(TIMEOUT_SECONDS)
        time.sleep(0)
    release = threading.Event()
    futures = [threads.submit(release.wait, TIMEOUT_SECONDS) for _ in range(20)]
    assert threading.active_count() <= before + 3
    release.set()
    assert all(future.result(TIMEOUT_SECONDS) for future in futures)


def test_idle_thread_is_told_once_after_its_calls():
    idle = SimpleQueue()
    threads = DaemonThreads(1, "test", on_idle=lambda: idle.put(threading.current_thread().name))
    for _ in range(2):
        assert threads.submit(int).result(TIMEOUT_SECONDS) == 0
        assert idle.get(timeout=TIMEOUT_SECONDS) == "test_0"
    assert idle.empty()
    threads.shutdown()


def test_thread_goes_on_after_an_error_while_it_is_idle():
    idle = SimpleQueue()

    def fail():
        idle.put(True)
        raise RuntimeError("the database is locked")

    threads = DaemonThreads(1, "test", on_idle=fail)
    with log_lines(logging.ERROR) as errors:
        for _ in range(2):
            assert threads.submit(int).result(TIMEOUT_SECONDS) == 0
            assert idle.get(timeout=TIMEOUT_SECONDS)
    assert errors
    threads.shutdown()


def test_busy_thread_is_not_idle():
    idle = SimpleQueue()
    threads = DaemonThreads(1, "test", on_idle=lambda: idle.put(True), idle_seconds=TIMEOUT_SECONDS)
    for _ in range(100):
        threads.submit(int).result(TIMEOUT_SECONDS)
    assert idle.empty()
    threads.shutdown()


def test_no_more_threads_are_started_than_calls_were_under_way():
    threads = DaemonThreads(50, "test")
    before = threading.active_count()
    room = threading.Semaphore(2)
    for _ in range(3000):
        room.acquire()
        threads.submit(int).add_done_callback(lambda _: room.release())
    assert threading.active_count() <= before + 2
    threads.shutdown()


def test_calls_behind_a_stuck_one_run_in_the_others(threads):
    release = threading.Event()
    stuck = threads.submit(release.wait)
    assert [threads.submit(int).result(TIMEOUT_SECONDS) for _ in range(10)] == [0] * 10
    release.set()
    stuck.result(TIMEOUT_SECONDS)


def test_call_that_was_cancelled_in_the_queue_does_not_run():
    threads, release, called = DaemonThreads(1, "test"), threading.Event(), []
    first = threads.submit(release.wait)
    second = threads.submit(called.append, 1)
    assert second.cancel()
    release.set()
    first.result(TIMEOUT_SECONDS)
    threads.submit(int).result(TIMEOUT_SECONDS)
    assert called == []
    threads.shutdown()


def test_shutdown_ends_the_threads_after_the_calls_before_it():
    threads, release = DaemonThreads(2, "test"), threading.Event()
    futures = [threads.submit(release.wait, TIMEOUT_SECONDS) for _ in range(5)]
    threads.shutdown()
    with pytest.raises(RuntimeError):
        threads.submit(int)
    threads.join(0.01)
    release.set()
    assert all(future.result(TIMEOUT_SECONDS) for future in futures)
    threads.join(TIMEOUT_SECONDS)
    assert not any(thread.is_alive() for thread in threads._threads)


def test_idle_thread_keeps_nothing_of_its_last_call(threads):
    class Thing:
        pass

    thing = Thing()
    reference = weakref.ref(thing)
    threads.submit(id, thing).result(TIMEOUT_SECONDS)
    del thing
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while reference() is not None:
        assert time.monotonic() < deadline
        gc.collect()


def test_forked_child_starts_threads_of_its_own(threads):
    threads.submit(int).result(TIMEOUT_SECONDS)
    pid = os.fork()
    if not pid:
        os._exit(threads.submit(int).result(TIMEOUT_SECONDS))
    assert os.waitpid(pid, 0)[1] == 0


def test_process_ends_although_a_call_is_stuck_and_waits_for_short_ones():
    code = """
import threading, time
from pm_realtime.concurrency import DaemonThreads
from tests.support.helpers import log_lines
threads = DaemonThreads(2, "test")
threads.submit(threading.Event().wait)
threads.submit(lambda: (time.sleep(0.2), print("ended", flush=True)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")
