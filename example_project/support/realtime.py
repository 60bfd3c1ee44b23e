"""The commands of the support chat, the types of its pushes, and its members as others see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypedDict
from uuid import uuid4

import msgspec
from django.db.models import Model, prefetch_related_objects
from django.utils.text import Truncator

from pm_realtime import Command, CommandError, command, push_type, send_to_room
from pm_realtime.roles import role_of

from .models import ContactMessage, Solvable, SupportMessage

ROOM: Final = "support"
EXCERPT_CHARACTERS: Final = 280

KINDS: Final[dict[str, type[Solvable]]] = {"message": SupportMessage, "contact": ContactMessage}
Kind = Literal["message", "contact"]


class Text(msgspec.Struct):
    """A text that somebody has written."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class Saved(msgspec.Struct):
    """A text that was saved, by its number."""

    id: int


class Author(msgspec.Struct, rename="camel"):
    user_id: int
    name: str


class Message(msgspec.Struct, rename="camel"):
    """A message of the chat."""

    id: int
    author: Author
    text: str
    sent_at: datetime


class Contact(msgspec.Struct):
    """A submission of the contact form."""

    id: int
    name: str
    subject: str
    excerpt: str
    created: datetime


class Person(TypedDict):
    """A member of the room."""

    name: str
    role: str


class Mark(msgspec.Struct):
    """A message of the chat or a contact request, and whether it is solved."""

    kind: Kind
    id: int
    solved: bool


class Marked(msgspec.Struct):
    """The same, with the name of its solver."""

    kind: Kind
    id: int
    solved: bool
    by: str


class Process(msgspec.Struct):
    """The id of the process that serves a connection."""

    id: int


push_type("support.message", Message)
push_type("support.marked", Marked)
push_type("contact", Contact)
push_type("process", Process)


@command("support.send", room=ROOM)
def send(request: Command, payload: Text) -> Saved:
    """Save a message, and show it to everyone in the room."""
    message, is_new = SupportMessage.objects.get_or_create(
        author=request.user,
        request_id=request.id or uuid4().hex,
        defaults={"text": payload.text},
    )
    if is_new:
        author = Author(request.user.pk, name_of(request.user))
        shown = Message(message.pk, author, message.text, message.created)
        send_to_room(ROOM, "support.message", shown)
    return Saved(message.pk)


@command("support.mark", room=ROOM, min_role="editor")
def mark(request: Command, payload: Mark) -> Marked:
    """Mark a message or a contact request as solved, or as open again."""
    found = find(payload.kind, payload.id)
    name = name_of(request.user) if payload.solved else ""
    marked = Marked(payload.kind, payload.id, payload.solved, name)
    if found.is_solved != payload.solved:
        found.set_solved(payload.solved, request.user)
        send_to_room(ROOM, "support.marked", marked)
    elif found.solved_by is not None:
        marked.by = name_of(found.solved_by)
    return marked


def find(kind: Kind, pk: int) -> Solvable:
    model: type[Model] = KINDS[kind]
    found = model._default_manager.select_for_update().filter(pk=pk).first()
    if not isinstance(found, Solvable):
        raise CommandError("NOT_FOUND", "This is not there any more.", data={"id": pk})
    return found


def show_contact(message: ContactMessage) -> None:
    """Show a submission of the contact form to everyone in the room."""
    excerpt = Truncator(message.body).chars(EXCERPT_CHARACTERS)
    contact = Contact(message.pk, message.name, message.subject, excerpt, message.created)
    send_to_room(ROOM, "contact", contact)


def describe_people(users: Sequence[Any]) -> dict[Any, Person]:
    """The name and the role of each of ``users``, for all who see them in the room."""
    prefetch_related_objects(users, "groups")
    return {user.pk: {"name": name_of(user), "role": role_of(user)} for user in users}


def name_of(user: Any) -> str:
    return user.get_full_name() or user.get_username()
