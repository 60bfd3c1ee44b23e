"""The tasks of a connection."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Final

#: Seconds for the rest of a connection's work after its server has cancelled it. Longer than a slow
#: backend has for counting it.
FINISH_SECONDS: Final = 5.0


@dataclass(slots=True, eq=False, repr=False)
class ConnectionTasks:
    """The task that serves one connection, and the tasks beside it."""

    _serving: asyncio.Task[Any]
    #: A control message begins work in the context of its receiver, and so in that of another
    #: connection. A rule may go by what a middleware of the site has set in this one.
    _context: Context = field(default_factory=copy_context)
    _beside: set[asyncio.Task[None]] = field(default_factory=set)
    _finishing: asyncio.Task[None] | None = None
    _has_interrupted: bool = False
    #: Whether what is left to do was given up.
    is_abandoned: bool = False

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside the serving task."""
        # Task factories of monitoring tools may know no argument `context`.
        task = self._context.copy().run(asyncio.get_running_loop().create_task, work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def interrupt(self) -> None:
        """Cancel the serving task, unless that is the one that calls this."""
        if self._serving is not asyncio.current_task():
            self._has_interrupted = True
            self._serving.cancel()

    def is_cancelled_by_server(self) -> bool:
        """After a cancellation: whether it came from outside, and not from :meth:`interrupt`."""
        if self._has_interrupted:
            self._has_interrupted = False
            self._serving.uncancel()
        return self._serving.cancelling() > 0

    async def cancel_beside(self, *others: asyncio.Task[None]) -> None:
        """Cancel the tasks beside the serving one, and ``others``; return when they have ended."""
        tasks = {*self._beside, *others}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def finish(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run ``work`` even if the server cancels meanwhile; return whether it does.

        It then has some seconds left, as code of the site in it may be stuck.
        """
        loop, is_stopped = asyncio.get_running_loop(), False
        self._finishing = finishing = loop.create_task(work)
        while not finishing.done():
            if not is_stopped and self.is_cancelled_by_server():
                is_stopped = True
                loop.call_later(FINISH_SECONDS, finishing.cancel)
            with suppress(asyncio.CancelledError):
                await asyncio.shield(finishing)
        return is_stopped or self.is_cancelled_by_server()

    def abandon(self) -> None:
        """Give up what is left to do, as the process ends."""
        self.is_abandoned = True
        if self._finishing is None:
            self.interrupt()
        else:
            self._finishing.cancel()
