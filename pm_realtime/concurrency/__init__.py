"""Tools for event loops, threads and forks. They depend neither on Django nor on this package."""

# fmt: off
from pm_realtime.concurrency.abandoned_calls import (
    limit_exit,
    note_abandoned_call,
    were_calls_abandoned,
)
from pm_realtime.concurrency.background import after_fork, run_in_background
from pm_realtime.concurrency.bounded_calls import BoundedCalls, note_result
from pm_realtime.concurrency.callers import is_loop_of_a_caller, may_have_waiting_caller
from pm_realtime.concurrency.coalescing import Coalescer
from pm_realtime.concurrency.daemon_threads import DaemonThreads
from pm_realtime.concurrency.fair_queue import FairQueue
from pm_realtime.concurrency.per_loop import PerLoop
from pm_realtime.concurrency.waiting import is_set_within
# fmt: on
