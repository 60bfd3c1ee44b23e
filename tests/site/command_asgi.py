"""The site with commands of its own, for the room ``open`` and for the user."""

import asyncio
from typing import Any

import msgspec

from pm_realtime import Command, CommandError, command
from tests.site.asgi import application
from tests.site.models import Note

__all__ = ["application"]


class Text(msgspec.Struct):
    text: str
    #: How long the command takes.
    seconds: float = 0


@command("note.write", room="open", public=True, rate="1000/s")
def write(request: Command, payload: Text) -> dict[str, Any]:
    if payload.text == "refused":
        raise CommandError("NOT_NOW", "Not now.", data={"until": 5})
    note = Note.objects.create(text=payload.text)
    return {"pk": note.pk, "text": note.text}


@command("wait", room="open", public=True, rate="1000/s")
async def wait(request: Command, payload: Text) -> str:
    note = await Note.objects.acreate(text=payload.text)
    await asyncio.sleep(payload.seconds)
    return note.text


@command("nothing", public=True)
def nothing(request: Command) -> None:
    pass


@command("single.write", room="single", public=True)
def write_in_single(request: Command, payload: Text) -> str:
    return Note.objects.create(text=payload.text).text
