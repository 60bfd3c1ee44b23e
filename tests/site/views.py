"""Views that push, as those of a site do."""

import asyncio
import contextlib
import gc
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from pm_realtime import (
    aget_stats,
    asend_to_room,
    get_stats,
    is_online,
    send_to_room,
    send_to_user,
)
from pm_realtime.conf import room_of
from pm_realtime.connection.outbox import Outbox
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import room_group
from pm_realtime.push import apublish_volatile
from tests.site.models import Note
from tests.support.helpers import layer_groups


def push(request: HttpRequest) -> HttpResponse:
    """Push to the room ``room``, or to the user ``user``."""
    payload = json.loads(request.GET.get("payload", "null"))
    try:
        if "user" in request.GET:
            send_to_user(request.GET["user"], "pushed", payload)
        else:
            send_to_room(request.GET["room"], "pushed", payload)
    except BackendError:
        return HttpResponse("refused")
    return HttpResponse("sent")


async def apush(request: HttpRequest) -> HttpResponse:
    room = request.GET["room"]
    await sync_to_async(send_to_room)(room, "pushed", {"by": "sync_to_async"})
    await asend_to_room(room, "pushed", {"by": "async"})
    return JsonResponse(await aget_stats())


async def volatile(request: HttpRequest) -> HttpResponse:
    """Send ``count`` volatile messages of one connection, faster than a client can."""
    room = room_of(request.GET["room"])
    assert room is not None
    padding = "x" * int(request.GET["size"])
    for number in range(int(request.GET["count"])):
        payload = {"room": room.name, "content": ["view", number, padding], "volatile": True}
        await apublish_volatile(room, payload, sender="a connection")
        await asyncio.sleep(0)
    return HttpResponse("sent")


def burst(request: HttpRequest) -> HttpResponse:
    padding = "x" * int(request.GET.get("size", 0))
    start = int(request.GET.get("start", 0))
    for number in range(start, start + int(request.GET["count"])):
        send_to_room(request.GET["room"], "burst", {"n": number, "padding": padding})
    return HttpResponse("sent")


def pool(request: HttpRequest) -> HttpResponse:
    with ThreadPoolExecutor(4) as executor:
        for number in range(20):
            executor.submit(send_to_room, request.GET["room"], "pooled", {"n": number})
    return HttpResponse("sent")


def in_transaction(request: HttpRequest) -> HttpResponse:
    room = request.GET["room"]
    try:
        with transaction.atomic():
            Note.objects.create(text="rolled back")
            send_to_room(room, "note", {"text": "rolled back"})
            raise LookupError
    except LookupError:
        pass
    with transaction.atomic():
        Note.objects.create(text="kept")
        send_to_room(room, "note", {"text": "kept"})
        send_to_room(room, "early", on_commit=False)
    return HttpResponse("sent")


def saved(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        Note.objects.create(text="kept")
        send_to_room(request.GET["room"], "saved")
    return HttpResponse("saved")


def each(request: HttpRequest) -> HttpResponse:
    """Push its number to each of the rooms ``own:0``, ``own:1``, …"""
    for number in range(int(request.GET["count"])):
        send_to_room(f"own:{number}", "own", {"n": number})
    return HttpResponse("sent")


def push_to_user(request: HttpRequest, user: UUID) -> HttpResponse:
    """Push to all connections of ``user``."""
    send_to_user(user, "private", request.GET["payload"])
    return HttpResponse("sent")


def notes(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"count": Note.objects.count()})


def online(request: HttpRequest) -> JsonResponse:
    return JsonResponse(is_online(request.GET["user"]), safe=False)


def stats(request: HttpRequest) -> HttpResponse:
    found = get_stats()
    if "room" in request.GET:
        found["members"] = async_to_sync(count_members)(request.GET["room"])
    return JsonResponse(found)


async def count_members(room: str) -> int:
    """Return the number of this process's channels in the group of ``room``."""
    return len(layer_groups().get(room_group(room), ()))


def waiting(request: HttpRequest) -> HttpResponse:
    """Bytes that wait for slow sockets: in our queues and in the transports of the server."""
    queued = buffered = 0
    for each in gc.get_objects():
        if isinstance(each, Outbox):
            queued += each.waiting_bytes
        elif issubclass(type(each), asyncio.Transport):
            with contextlib.suppress(AttributeError, NotImplementedError):
                buffered += each.get_write_buffer_size()
    return JsonResponse({"queued": queued, "buffered": buffered})


def memory(request: HttpRequest) -> HttpResponse:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    found = {"bytes": pages * os.sysconf("SC_PAGE_SIZE"), "blocks": sys.getallocatedblocks()}
    return JsonResponse(found)
