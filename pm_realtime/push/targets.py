"""Targets of pushes and control messages: users, rooms and connections, checked."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Model

from pm_realtime import layer
from pm_realtime.conf import missed_route
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import check_room


def user_key(user: Any) -> str:
    """The primary key of ``user``, an object or a primary key, as text.

    Raises ``ValueError`` for an anonymous or unsaved user and for other values that cannot be a
    primary key.
    """
    if isinstance(user, Model) and not isinstance(user, get_user_model()):
        raise ValueError(f"expected a user or a primary key, got a {type(user).__name__}: {user!r}")
    if hasattr(user, "is_authenticated"):
        is_saved = user.is_authenticated and not (isinstance(user, Model) and user._state.adding)
        key = user.pk if is_saved else None
    else:
        try:
            key = get_user_model()._meta.pk.to_python(user)
        except (ValidationError, TypeError, ValueError):
            key = None
    if key is None:
        raise ValueError(f"expected a saved user or a primary key, got {user!r}")
    return str(key)


def room_name(room: object) -> str:
    """``room``, if connections can be in a room of that name. Raises ``ValueError``."""
    try:
        name = check_room(room)
    except CommandError as error:
        raise ValueError(f"{error.message} Got {room!r}.") from None
    if (route := missed_route(name)) is not None:
        raise ValueError(
            f"Expected the name of a room, got {name!r}: it begins like {route!r} in ROOMS but "
            "does not fit it, so nobody may be in it. Correct the name, or list it in ROOMS."
        )
    return name


def connection_group(connection_id: object) -> str:
    """The group of one connection. Raises ``ValueError`` if ``connection_id`` is not a string."""
    if not isinstance(connection_id, str) or not connection_id:
        raise ValueError(f"expected the id of a connection as text, got {connection_id!r}")
    return layer.connection_group(connection_id)
