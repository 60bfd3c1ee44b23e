"""Whether a thread waits in ``async_to_sync`` for the code that runs in this event loop."""

import asyncio

from asgiref.sync import AsyncToSync


def may_have_waiting_caller() -> bool:
    """Whether a thread may be waiting in ``async_to_sync`` for this code.

    The thread may also have gone by now, as tasks inherit the context that says so.
    """
    return getattr(AsyncToSync.executors, "current", None) is not None or is_loop_of_a_caller()


def is_loop_of_a_caller() -> bool:
    """Whether this loop runs for one ``async_to_sync`` only, as in Django's ``TestCase``.

    Sync code belongs into the thread that waits for it: the transaction of the test is there.
    """
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors
