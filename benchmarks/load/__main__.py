"""``python -m benchmarks.load SYSTEM PORT…`` reads commands and writes answers, as lines of JSON.

A command is ``{"do": …, …}`` with a method of :class:`benchmarks.load.crowd.Crowd` and its
arguments. The answer is the return value of the method, or ``{"error": …}``.
"""

import asyncio
import json
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from benchmarks.load.crowd import Crowd


async def main(system: str, *ports: str) -> None:
    crowd = Crowd(system, [int(port) for port in ports])
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        try:
            answer = await getattr(crowd, command.pop("do"))(**command)
        except Exception as error:
            traceback.print_exc()
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's; None, for asyncio's own, if uvloop is not installed."""
    if find_spec("uvloop") is None:
        return None
    found: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return found


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(*sys.argv[1:]))
