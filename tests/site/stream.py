"""A thread of this process that pushes until it is stopped."""

import itertools
import os
import threading
import time

from django.http import HttpRequest, HttpResponse, JsonResponse

from pm_realtime import send_to_room, send_to_user

_is_over = threading.Event()
_threads: list[threading.Thread] = []
PUSH_INTERVAL_SECONDS = 0.001


def start(request: HttpRequest, room: str) -> HttpResponse:
    """Push to ``room`` each ``interval`` seconds until :func:`stop` is called.

    Each push has the time at which it was sent. The same numbers go to ``user``, if one is given.
    """
    _is_over.clear()
    interval = float(request.GET.get("interval", PUSH_INTERVAL_SECONDS))
    arguments = room, interval, request.GET.get("user")
    _threads.append(threading.Thread(target=_push_on, args=arguments, daemon=True))
    _threads[-1].start()
    return HttpResponse("started")


def stop(request: HttpRequest) -> JsonResponse:
    _is_over.set()
    for thread in _threads:
        thread.join()
    _threads.clear()
    return JsonResponse({"at": time.time()})


def _push_on(room: str, interval: float, user: str | None) -> None:
    def push(number: int | None) -> None:
        payload = {"from": os.getpid(), "n": number, "at": time.time()}
        if user is not None:
            send_to_user(user, "noticed", payload)
        send_to_room(room, "streamed", payload)

    for number in itertools.count():
        if _is_over.wait(interval):
            push(None)
            return
        push(number)
