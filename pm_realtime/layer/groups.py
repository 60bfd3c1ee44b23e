"""Names of rooms, users, roles and connections as group names, valid in every channel layer.

Layers allow ASCII letters, digits, hyphens, underscores and periods, under 100 characters; a room
may be called anything. So a group is a kind and a hash, never the name itself.
"""

from hashlib import blake2b


def room_group(room: str) -> str:
    return _group("room", room)


def user_group(user_key: str) -> str:
    return _group("user", user_key)


def role_group(role: str) -> str:
    """The group of every connection whose role is ``role`` or a higher one."""
    return _group("role", role)


def connection_group(connection_id: str) -> str:
    return _group("connection", connection_id)


def authenticated_group() -> str:
    """The group of every connection of a logged-in user."""
    return "pm_realtime.authenticated"


def control_group() -> str:
    """The group of every process, for control messages that joining connections must get too."""
    return "pm_realtime.orders"


def _group(kind: str, name: str) -> str:
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return f"pm_realtime.{kind}.{digest}"


def probe_group(channel: str, number: int) -> str:
    """The ``number``-th group through which the hub behind ``channel`` sends itself probes."""
    return _group("probe", f"{channel} {number}")
