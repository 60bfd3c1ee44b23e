"""``python -m benchmarks.sites.history STREAMS MESSAGES BYTES``: the memory of streams.

It fills streams of the memory backend, and prints JSON: the kB of memory of each.
"""

import asyncio
import gc
import json
import os
import sys

import django

from benchmarks import host
from pm_realtime.backends import StreamMessage, get_streams

#: Filled before the memory is read first.
WARM_UP_STREAMS = 20


async def fill(first: int, count: int, messages: int, size: int) -> None:
    """Publish to ``count`` streams in turn, as their messages come in a site."""
    streams = get_streams()
    for number in range(messages):
        for stream in range(first, first + count):
            text = f"{stream} {number} ".ljust(size, "x")
            await streams.publish(StreamMessage(f"stream-{stream}", text, None, messages, 3600))


def measure(streams: int, messages: int, size: int) -> dict[str, float]:
    """The growth of this process for each of ``streams`` streams."""
    with asyncio.Runner() as runner:
        runner.run(fill(0, WARM_UP_STREAMS, messages, size))
        gc.collect()
        before = host.memory([os.getpid()])
        runner.run(fill(WARM_UP_STREAMS, streams, messages, size))
        gc.collect()
        return {"memory_kb": (host.memory([os.getpid()]) - before) / streams / 1e3}


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.ours.settings"
    django.setup()
    print(json.dumps(measure(*map(int, sys.argv[1:]))))


if __name__ == "__main__":
    main()
