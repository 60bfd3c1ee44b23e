"""Targets of pushes and control messages: users, rooms, roles and connections, checked."""

from inspect import iscoroutine
from operator import index
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Model

from pm_realtime import layer
from pm_realtime.accounts import key_of, user_model
from pm_realtime.conf import Retention, conf, missed_route, retention_of, room_of
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import check_room
from pm_realtime.texts import plain_text

#: The length of an idempotency key.
MAX_KEY_LENGTH: Final = 200


def user_key(user: Any) -> str:
    """The primary key of ``user``, an object or a primary key, as text.

    Raises ``ValueError`` for an anonymous or unsaved user and for other values that cannot be a
    primary key.
    """
    model = user_model()
    if isinstance(user, Model) and model is not None and not isinstance(user, model):
        raise ValueError(f"expected a user or a primary key, got a {type(user).__name__}: {user!r}")
    if isinstance(user, type) or not hasattr(user, "is_authenticated"):
        key = _as_primary_key(user)
    else:
        is_saved = user.is_authenticated and not (isinstance(user, Model) and user._state.adding)
        key = key_of(user) if is_saved else None
    if key is None or (text := str(key)) == "":
        raise ValueError(f"expected a saved user or a primary key, got {_described(user)}")
    return text


def _as_primary_key(value: Any) -> Any:
    """``value`` as the primary key of a user; None if it cannot be one.

    Django makes a key of nearly any value: 1 of ``True``, a text of a list or of a QuerySet.
    """
    if (text := plain_text(value)) is not None:
        value = text
    elif isinstance(value, bool | type) or hasattr(value, "__iter__"):
        return None
    try:
        if hasattr(value, "__index__"):
            value = index(value)
        if (model := user_model()) is None:
            # A middleware of the site knows the users.
            return value if isinstance(value, int | str | UUID) else None
        key = model._meta.pk.to_python(value)
    except (ValidationError, TypeError, ValueError, OverflowError):
        return None
    is_kept = type(key) is type(value) or (isinstance(value, UUID) and isinstance(key, str))
    return key if is_kept or isinstance(value, int | str) else None


def _described(value: Any) -> str:
    """``value`` for an error message. Not a QuerySet's own text, which takes a query."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if iscoroutine(value):
        value.close()
        return "a coroutine. Await it first"
    if hasattr(value, "__iter__") and not isinstance(value, str | bytes):
        return f"a {type(value).__name__}. Push to one user at a time"
    return repr(value)


def room_name(room: object) -> str:
    """``room`` as plain text, if connections can be in such a room. Raises ``ValueError``."""
    return room_and_retention(room)[0]


def room_and_retention(room: object) -> tuple[str, Retention]:
    """As :func:`room_name`, with the retention of the room."""
    try:
        name = check_room(plain_text(room))
    except CommandError as error:
        raise ValueError(f"{error.message} Got {room!r}.") from None
    if (found := room_of(name)) is None and (route := missed_route(name)) is not None:
        raise ValueError(
            f"Expected the name of a room, got {name!r}: it begins like {route!r} in ROOMS but "
            "does not fit it, so nobody may be in it. Correct the name, or list it in ROOMS."
        )
    return name, retention_of(found)


def role_name(role: object) -> str:
    """``role``, if it is one of ``ROLES``, as plain text. Raises ``ValueError``."""
    name = plain_text(role)
    if name is None or name not in conf.ROLES:
        raise ValueError(f"expected one of ROLES ({', '.join(conf.ROLES)}), got {role!r}")
    return name


def connection_name(connection_id: object) -> str:
    """``connection_id`` as plain text. Raises ``ValueError`` if it is no text."""
    # No layer can send half a surrogate pair, which is not printable.
    if not (name := plain_text(connection_id)) or not name.isprintable():
        raise ValueError(f"expected the id of a connection as text, got {connection_id!r}")
    return name


def connection_group(connection_id: object) -> str:
    """The group of one connection. Raises ``ValueError`` if ``connection_id`` is no text."""
    return layer.connection_group(connection_name(connection_id))


def key_text(idempotency_key: object) -> str | None:
    """``idempotency_key`` as plain text, or None. Raises ``ValueError``."""
    if idempotency_key is None:
        return None
    key = plain_text(idempotency_key)
    if not key or len(key) > MAX_KEY_LENGTH or not _is_utf8(key):
        raise ValueError(
            f"expected an idempotency_key of 1 to {MAX_KEY_LENGTH} characters as text, or None, "
            f"got {idempotency_key!r}"
        )
    return key


def _is_utf8(text: str) -> bool:
    try:
        return bool(text.isascii() or text.encode())
    except UnicodeEncodeError:
        return False
