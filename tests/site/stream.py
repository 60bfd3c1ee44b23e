"""A thread of this process that pushes until it is stopped."""

import itertools
import os
import threading
import time

from django.http import HttpRequest, HttpResponse, JsonResponse

from pm_realtime import send_to_room

_is_over = threading.Event()
_threads: list[threading.Thread] = []
PUSH_INTERVAL_SECONDS = 0.001


def start(request: HttpRequest, room: str) -> HttpResponse:
    """Push to ``room`` each ``interval`` seconds until :func:`stop` is called.

    Each push has the time at which it was sent.
    """
    _is_over.clear()
    interval = float(request.GET.get("interval", PUSH_INTERVAL_SECONDS))
    _threads.append(threading.Thread(target=_push_on, args=(room, interval), daemon=True))
    _threads[-1].start()
    return HttpResponse("started")


def stop(request: HttpRequest) -> JsonResponse:
    _is_over.set()
    for thread in _threads:
        thread.join()
    _threads.clear()
    return JsonResponse({"at": time.time()})


def _push_on(room: str, interval: float) -> None:
    for number in itertools.count():
        if _is_over.wait(interval):
            send_to_room(room, "streamed", {"n": None})
            return
        payload = {"from": os.getpid(), "n": number, "at": time.time()}
        send_to_room(room, "streamed", payload)
