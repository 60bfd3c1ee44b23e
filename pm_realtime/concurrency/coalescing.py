"""Questions that many ask at once, answered together.

What is asked first is answered at once. What is asked while an answer is on its way waits for it,
and is then one question: a burst of handshakes asks the database three times, not three times each.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

#: Questions that are answered together; so an answer never takes long.
MOST: Final = 64
#: Seconds after which an answer is late, and nobody waits for it but those it is for.
PATIENCE: Final = 0.05


class Coalescer(Generic[Q, A]):
    """Belongs to one event loop.

    ``answer`` gives an answer, or the error in its place, for each question in turn; what it raises
    is the answer to all of them.
    """

    def __init__(self, answer: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]]) -> None:
        self._answer: Final = answer
        self._waiting: Final = deque[tuple[Q, asyncio.Future[A]]]()
        #: Answers on their way, and that for which the next question waits.
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._current: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer to ``question``."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, answered))
        # Not at once: who asks in the same turn of the loop is answered together.
        loop.call_soon(self._go_on, None)
        return await answered

    def _go_on(self, done: asyncio.Task[None] | None) -> None:
        """Answer those who wait, unless they wait for another than ``done``."""
        if self._current is not done or not self._waiting:
            self._current = None if self._current is done else self._current
            return
        asked = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        loop = asyncio.get_running_loop()
        task = self._current = loop.create_task(self._answer_all(asked))
        self._tasks.add(task)
        late = loop.call_later(PATIENCE, self._go_on, task)
        task.add_done_callback(lambda _: late.cancel())
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._go_on)

    async def _answer_all(self, asked: Sequence[tuple[Q, "asyncio.Future[A]"]]) -> None:
        wanted = [(question, answered) for question, answered in asked if not answered.done()]
        if not wanted:
            return
        try:
            answers = await self._answer([question for question, _ in wanted])
        except Exception as error:
            answers = [error] * len(wanted)
        except asyncio.CancelledError:
            _answer_rest(wanted)
            raise
        for (_, answered), answer in zip(wanted, answers, strict=False):
            if answered.done():
                continue  # Who asked has gone.
            if isinstance(answer, StopIteration):  # Which no future takes.
                answered.set_exception(RuntimeError(repr(answer)))
            elif isinstance(answer, Exception):
                answered.set_exception(answer)
            else:
                answered.set_result(answer)
        _answer_rest(wanted)


def _answer_rest(asked: "Sequence[tuple[Any, asyncio.Future[Any]]]") -> None:
    """Nobody is left waiting."""
    for _, answered in asked:
        if not answered.done():
            answered.set_exception(RuntimeError("There was no answer."))
