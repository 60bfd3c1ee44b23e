"""The site that is fuzzed, with rooms of each kind, small limits, and users without a database."""

from itertools import count
from types import SimpleNamespace

MAX_MESSAGE_BYTES = 4096

SETTINGS = {
    "RATE_LIMIT": None,
    "CONNECT_RATE_PER_USER": None,
    "MAX_MESSAGE_BYTES": MAX_MESSAGE_BYTES,
    "MAX_ROOMS_PER_CONNECTION": 4,
    "ROLE_RESOLVER": f"{__name__}.role_of",
    "ROOMS": {
        "lobby": {"public": True, "publish_role": "anonymous"},
        "full": {"public": True, "max_connections": 1},
        "news": {"public": True, "publish_role": "server"},
        "talk": {"public": True, "publish_role": "editor"},
        "support": {"min_role": "editor"},
        "page": {"public": True, "presence": {"per": "connection", "grace": 0}},
        "ticket:<int:pk>": {"authorize": f"{__name__}.is_even"},
        "order:<uuid:pk>": {"min_role": "user"},
    },
    "DEFAULT_ROOM": {},
}
RATE = "3/m"

_numbers = count(1)


def role_of(user):
    return user.role


async def is_even(user, room, pk):
    return pk % 2 == 0


def make_user(role):
    """A user of ``role`` who has sent nothing yet."""
    return SimpleNamespace(
        pk=f"{role} {next(_numbers)}",
        role=role,
        is_authenticated=True,
        get_username=lambda: f"the {role}",
    )
