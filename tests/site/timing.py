"""Durations of pushes from eight threads, and of the layer's own ``group_send``."""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.http import HttpRequest, JsonResponse

from pm_realtime import send_to_room
from pm_realtime.layer import room_group

THREAD_COUNT = 8

_threads = ThreadPoolExecutor(THREAD_COUNT)


def send(thread: int, number: int) -> None:
    send_to_room("open", "timed", {"thread": thread, "n": number})


def group_send(thread: int, number: int) -> None:
    message = {"type": "timed", "text": f'{{"thread": {thread}, "n": {number}}}'}
    async_to_sync(get_channel_layer().group_send)(room_group("empty"), message)


def timed(request: HttpRequest, name: str) -> JsonResponse:
    """Answer with the median duration of ``count`` calls in each thread, in seconds."""
    step, count = {"send": send, "group_send": group_send}[name], int(request.GET["count"])
    done = _threads.map(lambda thread: time_each(step, thread, count), range(THREAD_COUNT))
    median = statistics.median(seconds for each in done for seconds in each)
    return JsonResponse({"median": median, "pid": os.getpid()})


def time_each(step: Callable[[int, int], None], thread: int, count: int) -> list[float]:
    seconds = []
    for number in range(count):
        began = time.perf_counter()
        step(thread, number)
        seconds.append(time.perf_counter() - began)
    return seconds
