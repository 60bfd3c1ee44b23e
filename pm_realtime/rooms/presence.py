"""Presence of connections in rooms: being a member, and seeing the members.

``room`` is always the name of a joined room. In a room without presence, nothing happens.
"""

from typing import Any

from pm_realtime.rooms.connection import Connection


async def enter_presence(connection: Connection, room: str) -> None:
    """Count ``connection`` in as a member of ``room``, if it may be seen.

    Sends ``arrived`` if the member has come, and tells all processes. Again for the same
    connection, only its profile is replaced. Raises ``BackendError``.
    """


async def prepare(room: str) -> None:
    """Have the picture of ``room``, so that :func:`attach` can be called. Raises ``BackendError``.

    To be awaited right before the call in which ``attach`` is called.
    """


def attach(connection: Connection, room: str) -> dict[str, Any]:
    """Make ``connection`` a viewer of ``room``, or one with its present right to see members.

    Returns the payload for it: ``rev``, ``total``, and if it may know them ``members`` and ``me``.
    Every change after that ``rev`` is delivered to it, until :func:`detach`.
    """
    return {"rev": 0, "total": 0}


def detach(connection: Connection, room: str) -> None:
    """Deliver no more changes of ``room`` to ``connection``. It may not be a viewer."""


async def leave_presence(connection: Connection, room: str, *, is_at_once: bool) -> None:
    """Count ``connection`` out, at once or with the grace of ``room``. It may not be counted.

    If its member departs, ``departed`` is sent. Raises nothing while the backend is away.
    """


async def refresh_presence(connection: Connection, room: str) -> None:
    """Follow the present identity of ``connection``: its info, and what it may see and show.

    It enters or leaves (at once) as its role may be seen. Its right to see members follows.
    Raises ``BackendError``.
    """


def own_key(connection: Connection, room: str) -> str | None:
    """The key of the member as which ``connection`` counts in ``room``; None if it does not."""
    return None
