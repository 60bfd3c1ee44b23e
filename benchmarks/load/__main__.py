"""``python -m benchmarks.load SYSTEM PORT…``: commands as lines of JSON in, answers as JSON out.

A command is ``{"do": …, …}`` with a method of :class:`benchmarks.load.crowd.Crowd` and its
arguments; the answer is what it returns, or ``{"error": …}``.
"""

import asyncio
import json
import sys
import traceback

from benchmarks.load.crowd import Crowd

try:
    from uvloop import run
except ImportError:  # Where there is no uvloop, as on Windows.
    from asyncio import run


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
    run(main(*sys.argv[1:]))
