"""Coalescing of requests: those made during a call wait for it and are then one call together.

So a thousand handshakes read the database a few times, not a thousand times.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

#: Larger batches would make every answer slow.
MAX_BATCHED_REQUESTS: Final = 64
#: A call that takes longer does not hold up the next batch.
SLOW_BATCH_SECONDS: Final = 0.05


class Coalescer(Generic[Q, A]):
    """Belongs to one event loop.

    ``answer_all`` returns an answer, or the error in its place, for each request. An error that it
    raises is the answer to all requests of the batch.
    """

    def __init__(
        self,
        answer_all: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]],
        *,
        slow_batch_seconds: float = SLOW_BATCH_SECONDS,
    ) -> None:
        self._answer_all: Final = answer_all
        self._slow_batch_seconds: Final = slow_batch_seconds
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        #: The task that the waiting requests wait for.
        self._current: asyncio.Task[None] | None = None

    async def ask(self, request: Q) -> A:
        """The answer to ``request``. Raises the error that is its answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((request, future))
        # Not at once: requests of the same turn of the loop belong to one batch.
        loop.call_soon(self._start_batch, None)
        return await future

    def _start_batch(self, released_by: asyncio.Task[None] | None) -> None:
        """Start the next batch, unless it waits for another task than ``released_by``."""
        if self._current is not released_by:
            return
        self._current = None
        self._waiting = [each for each in self._waiting if not each[1].done()]
        if not self._waiting:
            return
        batch = self._waiting[:MAX_BATCHED_REQUESTS]
        self._waiting = self._waiting[MAX_BATCHED_REQUESTS:]
        loop = asyncio.get_running_loop()
        task = self._current = loop.create_task(self._run_batch(batch))
        self._tasks.add(task)
        timer = loop.call_later(self._slow_batch_seconds, self._start_batch, task)
        task.add_done_callback(lambda _: timer.cancel())
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._start_batch)

    async def _run_batch(self, batch: Sequence[tuple[Q, "asyncio.Future[A]"]]) -> None:
        answers: Sequence[A | Exception] = [RuntimeError("There was no answer.")] * len(batch)
        try:
            answers = await self._answer_all([request for request, _ in batch])
        except Exception as error:
            answers = [error] * len(batch)
        finally:
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue  # The caller was cancelled.
                if isinstance(answer, StopIteration):  # A future does not take it.
                    future.set_exception(RuntimeError(repr(answer)))
                elif isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
