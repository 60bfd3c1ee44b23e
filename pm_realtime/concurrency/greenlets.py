"""Threads of the operating system, also in a process where gevent or eventlet replaced threads.

There all "threads" are greenlets of one thread. They share its mark of a running event loop: with a
loop in one of them, Django and asyncio would take the others for async code.
"""

import _thread
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

R = TypeVar("R")


def start_thread(run: Callable[[], None], name: str) -> None:
    """Run ``run`` in a thread of the operating system that does not keep the process alive."""
    if is_patched():
        _native("start_new_thread")(run, ())
    else:
        threading.Thread(target=run, name=name, daemon=True).start()


def native_lock() -> Any:
    """A lock for threads of the operating system; greenlets wait in :func:`call_blocking`."""
    return _native("allocate_lock")()


def _native(name: str) -> Any:
    """A function of the module ``_thread``, without patches."""
    if _is_patched_by_gevent():
        return import_module("gevent.monkey").get_original("_thread", name)
    if _is_patched_by_eventlet():
        return getattr(import_module("eventlet.patcher").original("_thread"), name)
    return getattr(_thread, name)


def call_blocking(function: Callable[..., R], *args: Any) -> R:
    """The result of a function that blocks its thread; other greenlets go on meanwhile."""
    if _is_patched_by_gevent():
        result: R = import_module("gevent").get_hub().threadpool.apply(function, args)
        return result
    if _is_patched_by_eventlet():
        result = import_module("eventlet.tpool").execute(function, *args)
        return result
    return function(*args)


def is_patched() -> bool:
    """Whether the threads of this process are greenlets."""
    return _is_patched_by_gevent() or _is_patched_by_eventlet()


def _is_patched_by_gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("_thread"))


def _is_patched_by_eventlet() -> bool:
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))
