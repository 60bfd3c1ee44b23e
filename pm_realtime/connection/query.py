"""The query of a handshake: the memory of its client of earlier connections."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qs

import msgspec

from pm_realtime.auth import Identity
from pm_realtime.backends import Position

#: Earlier connections that a client may name.
MAX_FORMER_CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Query:
    #: The ids of the client's earlier connections, the newest first. The last one stands for the
    #: client: it is the first that it ever had.
    resume: tuple[str, ...] = ()
    #: By the ``to`` of their messages, the cursors up to which the client has read its streams.
    since: Mapping[str, str] | None = None
    #: Whether it has sent cursors that cannot be used.
    is_unusable: bool = False
    #: The id of the user whom all this is about, as text; empty for a visitor, None if not given.
    user: str | None = None
    #: Whether the client only asks for whom the server takes it.
    asks_who: bool = False

    @property
    def wants_recovery(self) -> bool:
        return self.is_unusable or self.since is not None

    def of(self, identity: Identity) -> "Query":
        """This query, or what is left of it if it was about another user than ``identity``."""
        user_id = identity.user_id
        if self.user is None or self.user == ("" if user_id is None else str(user_id)):
            return self
        return replace(self, resume=(), since=None, is_unusable=self.wants_recovery)


def read_query(query: bytes) -> Query:
    """The parts of a handshake's query that mean something here."""
    if b"=" not in query:
        return Query()
    values = parse_qs(query.decode("latin1"), keep_blank_values=True)
    resume = values.get("resume", [""])[-1].split(",")[:MAX_FORMER_CONNECTIONS]
    since = _read_cursors(values["since"][-1]) if "since" in values else None
    return Query(
        resume=tuple(filter(None, resume)),
        since=since,
        is_unusable="since" in values and since is None,
        user=values["user"][-1] if "user" in values else None,
        asks_who="who" in values,
    )


def _read_cursors(text: str) -> dict[str, str] | None:
    """The JSON object of cursors in ``text``; None if it is none."""
    try:
        found = msgspec.json.decode(text, type=dict[str, str])
        for cursor in found.values():
            Position.read(cursor)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    return found
