"""Queries of the state that all processes share."""

from typing import Any

from pm_realtime.backends import ConnectionInfo, Stats, get_backend
from pm_realtime.push.targets import connection_name, user_key
from pm_realtime.push.twins import prepare_in_loop, sync_twin_of


async def aget_connection(connection_id: str) -> ConnectionInfo | None:
    """The :class:`ConnectionInfo` of a connection, None if it is not open."""
    return await get_backend().get_connection(connection_name(connection_id))


async def aget_user_connections(user: Any) -> list[ConnectionInfo]:
    """The open connections of ``user``, a user object or a primary key, the oldest first."""
    return await get_backend().get_user_connections(await prepare_in_loop(user_key, user))


async def ais_online(user: Any) -> bool:
    """Whether ``user``, a user object or a primary key, has an open connection."""
    return bool(await aget_user_connections(user))


async def aget_stats() -> Stats:
    """``totalConnections``, ``authenticatedConnections``, ``totalRooms`` and ``roomStats``."""
    return await get_backend().get_stats()


get_connection = sync_twin_of(aget_connection)
get_user_connections = sync_twin_of(aget_user_connections)
is_online = sync_twin_of(ais_online)
get_stats = sync_twin_of(aget_stats)
