"""Pushes that go on and on, from a thread of this process."""

import itertools
import os
import threading
import time

from django.http import HttpRequest, HttpResponse, JsonResponse

from pm_realtime import send_to_room

_is_over = threading.Event()
_threads: list[threading.Thread] = []
#: Seconds between two pushes, unless a test names others.
PAUSE = 0.001


def start(request: HttpRequest, room: str) -> HttpResponse:
    """Push to ``room`` until :func:`stop` is called; each says when it was sent."""
    _is_over.clear()
    pause = float(request.GET.get("pause", PAUSE))
    _threads.append(threading.Thread(target=_push_on, args=(room, pause), daemon=True))
    _threads[-1].start()
    return HttpResponse("started")


def stop(request: HttpRequest) -> JsonResponse:
    _is_over.set()
    for thread in _threads:
        thread.join()
    _threads.clear()
    return JsonResponse({"at": time.time()})


def _push_on(room: str, pause: float) -> None:
    for number in itertools.count():
        if _is_over.wait(pause):
            send_to_room(room, "streamed", {"n": None})
            return
        payload = {"from": os.getpid(), "n": number, "at": time.time()}
        send_to_room(room, "streamed", payload)
