"""The request of a member that joins a group, and the place at which it begins."""

from typing import NamedTuple


class Joining(NamedTuple):
    """A group that a member joins, and from where on it gets the messages of its stream.

    ``ttl_seconds`` is for how long the stream keeps messages; None: the group has no stream. With
    ``since``, a cursor, the member first gets what followed it, and with ``last`` the last so many
    messages; with both, ``last`` counts if what followed ``since`` is not whole. ``room`` or ``to``
    names the stream for clients.
    """

    group: str
    ttl_seconds: float | None = None
    since: str | None = None
    last: int | None = None
    room: str | None = None
    to: str | None = None


class Start(NamedTuple):
    """The start of a member in a stream: the position after which messages follow.

    ``cursor`` is None for a group without a stream. ``is_whole`` says whether nothing is missing
    after ``since``; None if that was not given.
    """

    cursor: str | None = None
    is_whole: bool | None = None
