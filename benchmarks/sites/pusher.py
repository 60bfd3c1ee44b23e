"""``python -m benchmarks.sites.pusher N``: a process that only sends, N times in each way.

The ways take turns, so that other load on the machine affects them alike. It prints JSON: for each
way the milliseconds until the call returned.
"""

import json
import os
import sys
import time
from collections.abc import Callable

import django
import redis
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from benchmarks.figures import percentile
from pm_realtime import send_to_room

WARM_UP_CALLS = 20
PAYLOAD = {"title": "Your export is ready", "body": "It has 1,204 rows and waits for you."}


def ways() -> dict[str, Callable[[], object]]:
    """Each way to send, as a function without arguments. Django must be set up."""
    layer = get_channel_layer()
    assert layer is not None
    client = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    message = json.dumps(PAYLOAD)
    event = {"type": "chat.message", "message": PAYLOAD}
    return {
        "send_to_room": lambda: send_to_room("hall", "notification", PAYLOAD),
        "group_send": lambda: async_to_sync(layer.group_send)("hall", event),
        "publish": lambda: client.publish("hall", message),
    }


def measure(calls: int) -> dict[str, dict[str, float]]:
    """Percentiles of the milliseconds per call, for each way."""
    taken: dict[str, list[float]] = {}
    calls_of = ways()
    for number in range(WARM_UP_CALLS + calls):
        for way, call in calls_of.items():
            began = time.perf_counter()
            call()
            if number >= WARM_UP_CALLS:
                taken.setdefault(way, []).append((time.perf_counter() - began) * 1e3)
    return {
        way: {f"p{p}": percentile(sorted(times), p) for p in (50, 95, 99)}
        for way, times in taken.items()
    }


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.ours.settings"
    django.setup()
    print(json.dumps(measure(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
