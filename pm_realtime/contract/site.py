"""The commands, pushes and rooms that a site declares, with the schemas of their types."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.utils.module_loading import import_string

from pm_realtime.commands import DECLARATIONS, Declaration
from pm_realtime.conf import ROUTE_VALUE, conf, is_route, parse_route
from pm_realtime.contract.json_schema import Form, Schema
from pm_realtime.contract.member_info import info_annotation, info_schema
from pm_realtime.contract.types import Wanted, json_schemas
from pm_realtime.schemas import PUSH_TYPES


class RoomName(NamedTuple):
    """The name of a room, or a route that stands for many."""

    text: str

    @property
    def parameters(self) -> dict[str, Any]:
        """The converters of the route's values, by their names."""
        return dict(parse_route(self.text).converters) if is_route(self.text) else {}

    @property
    def shown(self) -> str:
        """The name with ``{pk}`` instead of ``<int:pk>``."""
        return ROUTE_VALUE.sub(r"{\1}", self.text)

    @property
    def address(self) -> str | None:
        """The same; None if it has characters that mean something else in an address."""
        is_plain = not any(set("{}?#") & set(text) for text, _ in self.parts())
        return self.shown if is_plain else None

    def parts(self) -> list[tuple[str, Any]]:
        """The texts of the name, each with the converter of the value behind it, or None."""
        converters = self.parameters
        texts = ROUTE_VALUE.split(self.text)
        names = [*texts[1::2], None]
        return [
            (text, converters[name] if name is not None else None)
            for text, name in zip(texts[::2], names, strict=True)
        ]


class SiteCommand(NamedTuple):
    """A command, with the schemas of its payload (None: it takes none) and of its result."""

    declaration: Declaration
    payload: Schema | None
    result: Schema


class SitePush(NamedTuple):
    """A type of pushes, with the schema of its payload."""

    type: str
    payload: Schema


class SiteRoom(NamedTuple):
    """A room of ``ROOMS`` with its options. A room that only commands name has None.

    Without a name it stands for all other rooms. The schemas are those of the content of its
    messages, as clients send it and as they get it, and of the info of its members. Without
    presence ``info`` is None.
    """

    name: RoomName | None
    options: Mapping[str, Any] | None
    content_in: Schema
    content_out: Schema
    info: Schema | None


class Site(NamedTuple):
    """All that a site declares. ``types`` are the schemas that the others refer to, by name."""

    commands: list[SiteCommand]
    pushes: list[SitePush]
    rooms: list[SiteRoom]
    types: dict[str, Schema]


def read_site(reserved: Iterable[str] = ()) -> Site:
    """The declarations of the site. None of its types has one of the ``reserved`` names.

    Raises ``TypeError`` for a faulty declaration, and ``ImportError`` if a type cannot be imported.
    """
    for declaration in DECLARATIONS.values():
        for fault in declaration.faults:
            raise TypeError(f"{declaration.declared_in}: {fault.text}")
    wanted: list[Wanted] = []

    def want(annotation: Any, form: Form) -> int:
        wanted.append(Wanted(annotation, form))
        return len(wanted) - 1

    commands = [
        (
            each,
            None if each.payload is None else want(each.payload.annotation, Form.INPUT),
            want(each.result.annotation, Form.OUTPUT),
        )
        for each in DECLARATIONS.values()
    ]
    pushes = [(each.type, want(each.annotation, Form.OUTPUT)) for each in PUSH_TYPES.values()]
    rooms = []
    for name, options in _rooms():
        content = _content(options)
        sent, got = want(content, Form.INPUT), want(content, Form.OUTPUT)
        presence = (options or {}).get("presence")
        info = None if presence in (None, False) else want(info_annotation(presence), Form.OUTPUT)
        rooms.append((name, options, sent, got, info))
    schemas, types = json_schemas(wanted, reserved)
    return Site(
        [
            SiteCommand(each, None if payload is None else schemas[payload], schemas[result])
            for each, payload, result in commands
        ],
        [SitePush(type, schemas[payload]) for type, payload in pushes],
        [
            SiteRoom(
                name,
                options,
                schemas[sent],
                schemas[got],
                None if info is None else info_schema((options or {})["presence"], schemas[info]),
            )
            for name, options, sent, got, info in rooms
        ],
        types,
    )


def _rooms() -> Iterator[tuple[RoomName | None, Mapping[str, Any] | None]]:
    rooms = conf.ROOMS
    for name, options in rooms.items():
        yield RoomName(name), options
    named = (each.room for each in DECLARATIONS.values())
    for room in dict.fromkeys(named):
        if room is not None and room not in rooms:
            yield RoomName(room), None
    if conf.DEFAULT_ROOM is not None:
        yield None, conf.DEFAULT_ROOM


def _content(options: Mapping[str, Any] | None) -> Any:
    """The type of the content of a room's messages."""
    path = (options or {}).get("content")
    return Any if path is None else import_string(path)
