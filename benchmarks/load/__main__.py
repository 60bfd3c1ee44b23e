"""``python -m benchmarks.load SYSTEM PORT…``: commands as lines of JSON in, answers as JSON out.

A command is ``{"do": …, …}`` with a method of :class:`benchmarks.load.crowd.Crowd` and its
arguments; the answer is what it returns, or ``{"error": …}``.
"""

import asyncio
import json
import sys
import traceback

import uvloop

from benchmarks.load.crowd import Crowd


async def main(system: str, *ports: str) -> None:
    crowd = Crowd(system, [int(port) for port in ports])
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        try:
            answer = await getattr(crowd, command.pop("do"))(**command)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
