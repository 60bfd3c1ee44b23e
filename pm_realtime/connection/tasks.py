"""The tasks of a connection."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False, repr=False)
class ConnectionTasks:
    """The task that serves one connection, and the tasks beside it."""

    _serving: asyncio.Task[Any]
    _beside: set[asyncio.Task[None]] = field(default_factory=set)
    _has_interrupted: bool = False

    def __len__(self) -> int:
        return len(self._beside)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside the serving task."""
        task = asyncio.get_running_loop().create_task(work)
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

    async def cancel_beside(self, *others: asyncio.Task[None] | None) -> None:
        """Cancel the tasks beside the serving one, and ``others``; return when they have ended."""
        tasks = {*self._beside, *filter(None, others)}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def finish(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run ``work`` to its end even if the server cancels meanwhile; return whether it does."""
        is_stopped = False
        finishing = asyncio.get_running_loop().create_task(work)
        while not finishing.done():
            try:
                await asyncio.shield(finishing)
            except asyncio.CancelledError:
                is_stopped |= self.is_cancelled_by_server()
        return is_stopped
