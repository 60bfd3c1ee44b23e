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
        ttl_seconds = ttl_of_own_streams()
        groups = {"user": user_group(str(identity.user_id)), "all": authenticated_group()}
        own = [Joining(group, ttl_seconds, since.get(to), to=to) for to, group in groups.items()]
        # A client that names some of its roles did not have the others: they were gained since.
        names_roles = any(to.startswith("role:") for to in since)
        # Lower roles too: a push to a role goes to the one group of that role.
        for role in roles_up_to(identity.role):
            joining = joining_of_gained(role)
            if (cursor := since.get(f"role:{role}")) is not None or not names_roles:
                joining = joining._replace(since=cursor, last=None)
            own.append(joining)
    return [*own, Joining(connection_group(connection_id))]


def joining_of_gained(role: str) -> Joining:
    """What is sent to ``role`` from now on, after a ``gap``: the client may have missed something,
    or have an earlier position of that stream, from which it must not go on."""
    # An empty cursor is never whole: a gap, and then the last 0 messages.
    return Joining(role_group(role), ttl_of_own_streams(), since="", last=0, to=f"role:{role}")


def ttl_of_own_streams() -> float | None:
    """For how long they keep messages; None if they keep none."""
    kept = retention()
    return kept.ttl_seconds if kept.size else None
