"""Presence for server code: questions about members, and telling processes that they changed."""

from pm_realtime.layer import PresenceChanged, asend, control_message, room_group


async def atell_presence(room: str) -> None:
    """Tell all processes with connections in ``room`` that its members have changed.

    Raises ``BackendError`` while the layer is away; processes then find out by themselves, a few
    seconds later.
    """
    group = room_group(room)
    await asend(group, control_message(group, PresenceChanged(room)))
