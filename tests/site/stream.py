"""Pushes that go on and on, from a thread of this process."""

import itertools
import threading
import time

from django.http import HttpRequest, HttpResponse, JsonResponse

from pm_realtime import send_to_room

_is_over = threading.Event()
_threads: list[threading.Thread] = []
#: Seconds between two pushes.
PAUSE = 0.001


def start(request: HttpRequest, room: str) -> HttpResponse:
    """Push to ``room`` until :func:`stop` is called; each says when it was sent."""
    _is_over.clear()
    _threads.append(threading.Thread(target=_push_on, args=(room,), daemon=True))
    _threads[-1].start()
    return HttpResponse("started")


def stop(request: HttpRequest) -> JsonResponse:
    _is_over.set()
    for thread in _threads:
        thread.join()
    _threads.clear()
    return JsonResponse({"at": time.time()})


def _push_on(room: str) -> None:
    for number in itertools.count():
        if _is_over.wait(PAUSE):
            return
        send_to_room(room, "streamed", {"n": number, "at": time.time()})
