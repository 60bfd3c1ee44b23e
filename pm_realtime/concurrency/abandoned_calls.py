"""The end of a process in which code of the site is stuck, though its call was given up.

An event loop waits at its end for tasks that do not take their cancellation and for the threads of
``asyncio.to_thread``, and Python for all threads of executors: for good.
"""

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pm_realtime.concurrency.per_loop import PerLoop

#: Seconds for which the main thread of a process that ends may wait for them.
WAIT_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.1
#: Module and function in which it does.
WAITS: Final = {("asyncio.runners", "_cancel_all_tasks"), ("threading", "_shutdown")}

_has_some: Final = PerLoop(asyncio.Event)
#: Their tasks. An event loop has only weak references to tasks.
_tasks: Final[set["asyncio.Future[Any]"]] = set()


def note_abandoned_call(task: "asyncio.Future[Any] | None" = None) -> None:
    """Code of the site may still run, in ``task`` if given, although nothing waits for it."""
    _has_some.get().set()
    if task is not None:
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


def were_calls_abandoned() -> bool:
    """Whether there was such a call in the running event loop."""
    return _has_some.get().is_set()


def limit_exit() -> None:
    """Have the process of the running loop end after ``WAIT_SECONDS`` of such waiting.

    For a process whose server is about to stop: it is still given the time for its requests.
    """
    # The loop itself only waits for the threads of its present executor.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
    threading.Thread(target=_end_if_waiting, name="pm_realtime-exit", daemon=True).start()


def _end_if_waiting() -> None:
    since = None
    while since is None or time.monotonic() - since < WAIT_SECONDS:
        time.sleep(POLL_SECONDS)
        since = (since or time.monotonic()) if _is_waiting() else None
    os._exit(0)


def _is_waiting() -> bool:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) in WAITS:
            return True
        frame = frame.f_back
    return False
