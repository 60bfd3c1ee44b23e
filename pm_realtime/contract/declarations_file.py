"""The TypeScript declarations of a site, which add its types to those of the browser client."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.urls.converters import IntConverter

from pm_realtime.contract.json_schema import Schema
from pm_realtime.contract.site import RoomName, Site, SiteCommand, read_site
from pm_realtime.contract.typescript import (
    comment,
    declaration,
    field,
    interface,
    key,
    literal,
)

#: The module of the browser client, as npm has it.
CLIENT_MODULE: Final = "@pm-realtime/client"
#: The interfaces of the client that a site adds to, and those that have what is added.
_INTERFACES: Final = {
    "RealtimeCommands": "SiteCommands",
    "RealtimeMessages": "SiteMessages",
    "RealtimePresence": "SitePresence",
    "RealtimeRooms": "SiteRooms",
}
_HEAD: Final = (
    "// Written by `manage.py realtime_types`. Change the declarations in Python, not this file.\n"
)


def declarations(module: str = CLIENT_MODULE) -> str:
    """The text of the ``.d.ts`` file that types the site for the client ``module``.

    The types have a file scope of their own, so that a site may have an ``Envelope``, too.
    """
    site = read_site(reserved=_INTERFACES.values())
    added = "".join(f"  interface {name} extends {own} {{}}\n" for name, own in _INTERFACES.items())
    parts = [
        _HEAD,
        *(declaration(name, schema) for name, schema in site.types.items()),
        _interface("SiteCommands", "The commands of this site.", map(_command, site.commands)),
        _interface("SiteMessages", "The types that this site pushes.", _pushes(site)),
        _interface("SitePresence", "The members of this site's rooms.", _members(site)),
        _interface("SiteRooms", "The rooms of this site.", _rooms(site)),
        f"declare module {literal(module)} {{\n{added}}}\n",
    ]
    return "\n".join(parts)


def _interface(name: str, about: str, members: Iterable[str]) -> str:
    return comment([about]) + interface(name, members)


def _command(command: SiteCommand) -> str:
    fields = []
    if command.payload is not None:
        fields.append(field("payload", command.payload, indent="    "))
    fields.append(field("result", command.result, indent="    "))
    if command.declaration.room is not None:
        fields.append(f"    room: {_room_type(RoomName(command.declaration.room))};\n")
    return _member(command.declaration.type, fields, command.declaration.doc)


def _pushes(site: Site) -> Iterator[str]:
    for push in site.pushes:
        yield field(push.type, push.payload)


def _rooms(site: Site) -> Iterator[str]:
    for room in site.rooms:
        if room.name is not None and room.options is not None:
            yield _room(room.name, "content", room.content_in)


def _members(site: Site) -> Iterator[str]:
    for room in site.rooms:
        if room.name is not None and room.info is not None:
            yield _room(room.name, "info", room.info)


def _room(name: RoomName, part: str, schema: Schema) -> str:
    fields = [f"    room: {_room_type(name)};\n"] if name.parameters else []
    return _member(name.text, [*fields, field(part, schema, indent="    ")])


def _member(name: str, fields: list[str], about: str = "") -> str:
    inside = f"{{\n{''.join(fields)}  }}" if fields else "{}"
    return f"{comment([about], '  ')}  {key(name)}: {inside};\n"


def _room_type(name: RoomName) -> str:
    """The names that a room or a route stands for, as a type of texts."""
    if not name.parameters:
        return literal(name.text)
    parts = [_escape(text) + _value(converter) for text, converter in name.parts()]
    return f"`{''.join(parts)}`"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")


def _value(converter: Any) -> str:
    if converter is None:
        return ""
    return "${number}" if isinstance(converter, IntConverter) else "${string}"
