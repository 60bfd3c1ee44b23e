"""The groups and streams that a connection is in without having asked for a room."""

from collections.abc import Mapping

from pm_realtime.auth import Identity
from pm_realtime.conf import retention
from pm_realtime.hub import Joining
from pm_realtime.layer import authenticated_group, connection_group, role_group, user_group
from pm_realtime.roles import roles_up_to


def own_streams(identity: Identity, connection_id: str, since: Mapping[str, str]) -> list[Joining]:
    """The groups that a connection always is in, with the cursors ``since`` by the ``to`` of their
    streams. Messages for the connection alone are in no stream."""
    own = []
    if identity.is_authenticated:
        groups = {"user": user_group(str(identity.user_id)), "all": authenticated_group()}
        # Lower roles too: a push to a role goes to the one group of that role.
        groups |= {f"role:{role}": role_group(role) for role in roles_up_to(identity.role)}
        ttl_seconds = ttl_of_own_streams()
        own = [Joining(group, ttl_seconds, since.get(to), to=to) for to, group in groups.items()]
    return [*own, Joining(connection_group(connection_id))]


def ttl_of_own_streams() -> float | None:
    """For how long they keep messages; None if they keep none."""
    kept = retention()
    return kept.ttl_seconds if kept.size else None
