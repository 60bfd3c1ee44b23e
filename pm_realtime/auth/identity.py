"""The identity of a connection: its user, as the database had it when it was read last."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

from django.contrib.auth import get_user
from django.db.models import Model

from pm_realtime.accounts import has_accounts, is_logged_in
from pm_realtime.auth.digests import digest_of
from pm_realtime.auth.names import name_of
from pm_realtime.auth.sessions import Session

#: The greatest number up to which a number of JavaScript holds every whole number.
MAX_SAFE_INTEGER: Final = 2**53 - 1

Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a connection.

    ``user_id`` is the primary key as it is on the wire (numbers stay numbers if JavaScript can hold
    them), None for an anonymous user. ``name`` is the name that others see. ``session`` is None
    without a Django session. ``digest`` is one of the user's fields, as rules may change the
    object. ``additions`` are what a middleware of the site noted on the user; None: nothing.
    """

    user: Any
    user_id: int | str | None = None
    name: str = ""
    role: str | None = None
    session: Session | None = None
    digest: bytes = b""
    additions: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def is_authenticated(self) -> bool:
        return self.user_id is not None


class Visitor:
    """Stands for Django's ``AnonymousUser``, which a site without ``contrib.auth`` cannot import.

    It has what a rule may ask of any user.
    """

    id = pk = None
    username = ""
    is_anonymous = True
    is_active = is_authenticated = is_staff = is_superuser = False

    def __str__(self) -> str:
        return "AnonymousUser"

    def get_username(self) -> str:
        return self.username

    def has_perm(self, *args: Any, **kwargs: Any) -> bool:
        return False

    has_perms = has_module_perms = has_perm


def anonymous() -> Identity:
    """The identity of an ``AnonymousUser``."""
    # Django's module of users cannot be imported before its apps are loaded, and `asgi.py` is.
    return Identity(user_of_session({}) if has_accounts() else Visitor())


def identity_of(user: Any, session: Session | None, role: str | None) -> Identity:
    """The identity of ``user``. May use the database, for the full name.

    Raises ``ValueError`` for a user without a primary key.
    """
    if not is_logged_in(user):
        return Identity(user)
    if getattr(user, "pk", None) is None:
        raise ValueError(f"expected a user with a primary key, got {user!r}")
    return Identity(user, _user_id(user.pk), name_of(user), role, session, digest_of(user))


def additions_to(user: Any) -> Mapping[str, Any] | None:
    """The attributes of ``user`` that its model does not have, such as the claims of a token."""
    user = getattr(user, "_wrapped", user)  # That of a middleware may be lazy.
    if not isinstance(user, Model):
        return None
    known = type(user)
    found = {
        name: value
        for name, value in vars(user).items()
        if not name.startswith("_") and not hasattr(known, name)
    }
    return found or None


def with_additions(user: Any, additions: Mapping[str, Any] | None) -> Any:
    """``user``, read anew, with the ``additions`` to the object that was read before.

    An attribute that ``user`` has by itself is the present one, such as an annotation of a manager.
    """
    if additions is None:
        return user
    user = copy(user)  # Other connections of the same user have other ones.
    for name, value in additions.items():
        vars(user).setdefault(name, value)
    return user


def _user_id(key: Any) -> int | str:
    """``key`` as JavaScript can hold it: greater numbers than that are text."""
    if isinstance(key, int) and abs(key) <= MAX_SAFE_INTEGER:
        return int(key)
    return str(int(key) if isinstance(key, int) else key)


def user_of_session(session_data: dict[str, Any]) -> Any:
    """The user whom Django's ``get_user`` finds for a request with ``session_data``."""
    return get_user(SimpleNamespace(session=_ReadOnlySession(session_data)))  # type: ignore[arg-type]


class _ReadOnlySession(dict[str, Any]):
    """The data of a session without its writing methods, which ``get_user`` may call.

    After a rotation of ``SECRET_KEY``, ``get_user`` gives the session another key. A handshake
    cannot hand the new cookie to the browser, whose next request would be logged out.
    """

    def cycle_key(self) -> None:
        pass

    def flush(self) -> None:
        self.clear()
