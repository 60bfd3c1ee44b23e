"""The members of rooms as a client of a test is told of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pm_realtime.protocol import MessageType


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPresence:
    """The members of a room as a connection has been told.

    ``members`` are as they travel, with ``key``, ``userId``, ``info``, ``since``, ``connections``
    and, if it has one, ``state``; the first are those who came first. None if it is told their
    number alone. ``me`` is the member that the connection belongs to, if it is one and is told.
    """

    total: int = 0
    members: Sequence[dict[str, Any]] | None = ()
    me: dict[str, Any] | None = None

    @property
    def users(self) -> list[str]:
        """The ids of the members' users, sorted; of anonymous ones the empty text."""
        return sorted(str(each["userId"] or "") for each in self.members or ())

    def fits(self, *, total: int | None, members: Iterable[Any] | None, users: Any) -> bool:
        """Whether it is as expected. None stands for anything.

        Of each of ``members`` the given fields count; their order does not.
        """
        return (
            total in (None, self.total)
            and (members is None or _are_alike(list(members), list(self.members or ())))
            and (users is None or sorted(map(_id_of, users)) == self.users)
        )


@dataclass(frozen=True, slots=True)
class _Picture:
    """By key, the members that a client has been told; None if only the ``total``."""

    rev: int
    total: int
    members: Mapping[str, dict[str, Any]] | None
    own_key: str | None = None

    def shown(self) -> SeenPresence:
        if self.members is None:
            return SeenPresence(total=self.total, members=None)
        members = sorted(self.members.values(), key=lambda each: (each["since"], each["key"]))
        me = None if self.own_key is None else self.members.get(self.own_key)
        return SeenPresence(total=self.total, members=members, me=me)


class ClientPictures:
    """The pictures of the rooms of one connection, kept as every client keeps them."""

    def __init__(self) -> None:
        self._pictures: dict[str, _Picture] = {}
        #: Rooms of which a change was missed, so that the client has to ask.
        self.torn: set[str] = set()

    def see(self, room: str) -> SeenPresence:
        """The members of ``room``; nobody if the connection is not in it."""
        picture = self._pictures.get(room)
        return SeenPresence() if picture is None else picture.shown()

    def has(self, room: str) -> bool:
        """Whether the connection is in ``room``, and is told who is there."""
        return room in self._pictures

    def own_rooms(self) -> list[str]:
        """The rooms with presence in which the connection is a member."""
        return [room for room, each in self._pictures.items() if each.own_key is not None]

    def note(self, envelope: Mapping[str, Any]) -> None:
        """Move on as ``envelope`` says, which has just arrived."""
        payload: Any = envelope.get("payload")
        match envelope["type"]:
            case MessageType.CONNECTED:
                self._pictures.clear()
                self.torn.clear()
            case MessageType.SUBSCRIBED:
                self._forget(payload["room"])
                if (presence := payload.get("presence")) is not None:
                    self._replace(payload["room"], presence, presence.get("me"))
            case MessageType.UNSUBSCRIBED:
                self._forget(payload["room"])
            case MessageType.PRESENCE:
                self._note_presence(payload["room"], payload)

    def _note_presence(self, room: str, payload: Mapping[str, Any]) -> None:
        picture = self._pictures.get(room)
        if picture is None:
            return
        if "prev" not in payload:
            if payload["rev"] >= picture.rev:
                self._replace(room, payload, payload.get("me"))
        elif payload["rev"] <= picture.rev:
            return
        elif "joined" not in payload:
            self._replace(room, payload, payload.get("me", picture.own_key))
        elif picture.members is None or payload["prev"] > picture.rev:
            self.torn.add(room)
        else:
            self._pictures[room] = _changed(picture, picture.members, payload)

    def _replace(self, room: str, payload: Mapping[str, Any], own_key: str | None) -> None:
        members = payload.get("members")
        by_key = None if members is None else {each["key"]: each for each in members}
        self._pictures[room] = _Picture(payload["rev"], payload["total"], by_key, own_key)
        self.torn.discard(room)

    def _forget(self, room: str) -> None:
        self._pictures.pop(room, None)
        self.torn.discard(room)


def _changed(
    picture: _Picture, members: Mapping[str, dict[str, Any]], payload: Mapping[str, Any]
) -> _Picture:
    told = [*payload["joined"], *payload["updated"]]
    by_key = {**members, **{each["key"]: each for each in told}}
    for key in payload["left"]:
        by_key.pop(key, None)
    return replace(picture, rev=payload["rev"], total=payload["total"], members=by_key)


def _id_of(user: Any) -> str:
    """The id of a user, or of None, which stands for an anonymous one."""
    return "" if user is None else str(getattr(user, "pk", user))


def _are_alike(expected: list[Mapping[str, Any]], found: list[dict[str, Any]]) -> bool:
    """Whether each of ``expected`` is part of another one of ``found``, and none is left."""
    if len(expected) != len(found):
        return False
    if not expected:
        return True
    first, *others = expected
    return any(
        first.items() <= each.items() and _are_alike(others, found[:index] + found[index + 1 :])
        for index, each in enumerate(found)
    )
