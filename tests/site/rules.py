"""``authorize`` callables and role resolvers that the tests name in settings."""

import asyncio
import contextlib
import threading
import time
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection

from tests.site.models import Note

SLOW_SECONDS = 3

calls: list[tuple[Any, str, dict[str, Any]]] = []


def even_only(user: Any, room: str, pk: int) -> bool:
    calls.append((user, room, {"pk": pk}))
    return pk % 2 == 0


async def even_only_async(user: Any, room: str, pk: int) -> bool:
    await get_user_model().objects.acount()
    return pk % 2 == 0


def is_known(user: Any, room: str) -> bool:
    return get_user_model().objects.filter(pk=user.pk).exists()


async def is_known_async(user: Any, room: str) -> bool:
    return await get_user_model().objects.filter(pk=user.pk).aexists()


def slow_query(user: Any, room: str) -> bool:
    """Block the thread in a query for SLOW_SECONDS."""
    connection.ensure_connection()
    connection.connection.create_function("pause", 1, lambda seconds: time.sleep(seconds) or 1)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pause({SLOW_SECONDS})")
        return bool(cursor.fetchone()[0])


async def slow_await(user: Any, room: str) -> bool:
    await asyncio.sleep(SLOW_SECONDS)
    return True


def broken(user: Any, room: str) -> bool:
    raise RuntimeError("secret inside detail")


def by_name(user: Any) -> str | None:
    """Return the user name as the role; ``nobody`` has none."""
    return None if user.username == "nobody" else user.username


allowed: set[int] = set()


def by_list(user: Any, room: str, pk: int) -> bool:
    return pk in allowed


def permission(user: Any, room: str) -> str:
    """Return the text of the note without which :func:`by_note` refuses."""
    return f"{user.pk} may see {room}"


def by_note(user: Any, room: str, pk: int) -> bool:
    return Note.objects.filter(text=permission(user, room)).exists()


switch: dict[str, bool] = {}


def by_switch(user: Any, room: str) -> bool:
    return switch[room]


gates: dict[str, asyncio.Event] = {}


async def by_gate(user: Any, room: str) -> bool:
    await gates[room].wait()
    return True


def shown_name(user: Any) -> str:
    return f"~{user.username}~"


async def shown_name_async(user: Any) -> str:
    return user.username


def wait_forever() -> None:
    print("waits for ever", flush=True)
    threading.Event().wait()


def stuck(user: Any, room: str) -> bool:
    wait_forever()
    return True


async def stuck_async(user: Any, room: str) -> bool:
    await sync_to_async(wait_forever)()
    return True


async def stuck_in_executor(user: Any, room: str) -> bool:
    await asyncio.to_thread(wait_forever)
    return True


async def stuck_and_deaf(user: Any, room: str) -> bool:
    """Take no cancellation."""
    print("waits for ever", flush=True)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


def stuck_role(user: Any) -> str:
    wait_forever()
    return "user"
