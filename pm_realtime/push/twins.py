"""Pairs of public functions: a sync one, and an async twin whose name begins with ``a``."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, get_args

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from pm_realtime.backends import get_backend
from pm_realtime.layer import warn_if_alone
from pm_realtime.push.commits import deliver_committed
from pm_realtime.push.outgoing import Outgoing, asend, send

P = ParamSpec("P")
R = TypeVar("R")


def sending_twins(
    prepare: Callable[P, Outgoing[R]],
) -> tuple[Callable[P, R], Callable[P, Coroutine[Any, Any, R]]]:
    """The sync function and its async twin that send the message that ``prepare`` returns."""
    name = prepare.__name__.lstrip("_")

    def sync_twin(*args: P.args, **kwargs: P.kwargs) -> R:
        refuse_in_loop(name)
        return send(prepare(*args, **kwargs))

    async def async_twin(*args: P.args, **kwargs: P.kwargs) -> R:
        return await asend(await prepare_in_loop(prepare, *args, **kwargs))

    (result,) = get_args(prepare.__annotations__["return"])
    _present(sync_twin, name, prepare, result)
    _present(async_twin, f"a{name}", prepare, result)
    return sync_twin, async_twin


async def prepare_in_loop(prepare: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of ``prepare``. A ``request.user`` that is not loaded is loaded in a thread."""
    try:
        return prepare(*args, **kwargs)
    except SynchronousOnlyOperation:
        return await sync_to_async(prepare)(*args, **kwargs)


def sync_twin_of(query: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """The sync function for ``query``, a coroutine function that asks the backend."""
    name = query.__name__.removeprefix("a")

    def sync_twin(*args: P.args, **kwargs: P.kwargs) -> R:
        refuse_in_loop(name)
        warn_if_alone()
        for each in (*args, *kwargs.values()):
            # Loads a lazy user here, where the caller's transaction and no event loop is.
            getattr(each, "pk", None)
        # Not in the background loop, over which some of those are sent.
        deliver_committed()
        return get_backend().run(query(*args, **kwargs))

    _present(sync_twin, name, query, query.__annotations__["return"])
    return sync_twin


def refuse_in_loop(name: str) -> None:
    """Raise ``SynchronousOnlyOperation`` if an event loop runs, which ``name`` would block."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        f"{name}() would block the running event loop. Use `await a{name}(...)` here."
    )


def _present(function: Any, name: str, made_from: Callable[..., Any], result: Any) -> None:
    """Give a generated function its public name and signature, for ``help`` and tracebacks."""
    functools.update_wrapper(function, made_from)
    function.__name__ = function.__qualname__ = name
    function.__signature__ = inspect.signature(made_from).replace(return_annotation=result)
