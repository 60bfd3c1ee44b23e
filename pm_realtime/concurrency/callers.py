"""Detection of threads that wait in ``async_to_sync`` for the code of an event loop."""

import asyncio

from asgiref.sync import AsyncToSync


def may_have_waiting_caller() -> bool:
    """Whether a thread may be waiting in ``async_to_sync`` for this code.

    The thread may have gone on already: tasks inherit the context by which it is detected.
    """
    return getattr(AsyncToSync.executors, "current", None) is not None or is_loop_of_a_caller()


def is_loop_of_a_caller() -> bool:
    """Whether the running loop serves one call of ``async_to_sync``, as in a ``TestCase``.

    Sync code must then run in the waiting thread, which has the transaction of the test.
    """
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors
