"""The users of many identities, read from the database together."""

import logging
from collections.abc import Collection, Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    get_backends,
    get_user_model,
    load_backend,
)
from django.core.exceptions import ValidationError
from django.db import Error as DatabaseError
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string

from pm_realtime.accounts import has_accounts, is_of_user_model, user_model
from pm_realtime.auth.identity import Identity
from pm_realtime.conf import Conf, conf
from pm_realtime.observability import throttle
from pm_realtime.roles import has_django_groups, role_of

logger = logging.getLogger("pm_realtime.auth")


class CurrentUsers:
    """The users of ``identities`` as they are now, each as its own authentication backend finds it.

    The users of backends that find users as Django's own does are read with one query.
    """

    def __init__(self, identities: Sequence[Identity]) -> None:
        self._backends: dict[str, Any] = {}
        keys = (self._shared_key(identity) for identity in identities)
        self._shared = _load_users({key for key in keys if key is not None})
        #: By the id of the user object. The object is kept, so that its id stays its own.
        self._roles: dict[int, tuple[Any, str | None]] = {}

    def get(self, identity: Identity) -> Any:
        """The user of ``identity``; None for one that is deleted or may not log in any more."""
        backend = self._backend_of(identity)
        if backend is not None and not _is_shared(backend):
            return backend.get_user(_primary_key(identity))
        if not is_of_user_model(identity.user):
            return identity.user
        user = self._shared.get(_primary_key(identity))
        if user is None:
            return None
        if backend is not None:
            return user if backend.user_can_authenticate(user) else None
        return user if getattr(user, "is_active", True) else None

    def role_of(self, user: Any) -> str | None:
        """The role of a ``user`` that :meth:`get` returned. The resolver is called once a user."""
        if id(user) not in self._roles:
            self._roles[id(user)] = user, role_of(user)
        return self._roles[id(user)][1]

    def _shared_key(self, identity: Identity) -> Any:
        backend = self._backend_of(identity)
        if backend is not None and not _is_shared(backend):
            return None
        return _primary_key(identity) if is_of_user_model(identity.user) else None

    def _backend_of(self, identity: Identity) -> Any:
        """The authentication backend that logged ``identity`` in; None if that is not known."""
        path = identity.session and identity.session.auth.get(BACKEND_SESSION_KEY)
        if not path or path not in settings.AUTHENTICATION_BACKENDS:
            return None
        if path not in self._backends:
            self._backends[path] = load_backend(path)
        return self._backends[path]


def find_users(user_ids: Collection[str]) -> dict[str, Any]:
    """The users with these primary keys, given as texts; without those that are not there.

    Those of the user model are read with one query. Other authentication backends are asked for
    each of the rest.
    """
    keys = {user_id: key for user_id in user_ids if (key := _to_key(user_id)) is not None}
    found = _users_of(get_user_model(), keys.values()) if keys else ()
    by_key = {user.pk: user for user in found}
    users = {user_id: by_key[key] for user_id, key in keys.items() if key in by_key}
    backends = get_backends() if has_accounts() else []
    # Those that only decide about permissions need not have the method.
    backends = [each for each in backends if hasattr(each, "get_user") and not _is_shared(each)]
    for user_id in user_ids:
        for backend in backends:
            if user_id not in users and (user := _ask(backend, keys.get(user_id, user_id))):
                users[user_id] = user
    return users


def _ask(backend: Any, key: Any) -> Any:
    """The user with ``key``; None also if ``backend`` raises for a key that is not its own."""
    try:
        return backend.get_user(key)
    except DatabaseError:
        raise
    except Exception as error:
        if throttle.note_error(error):
            logger.exception("An authentication backend could not look for a user.")
        return None


def _to_key(user_id: str) -> Any:
    """The primary key of the user model for ``user_id``; None if it can be none."""
    if (model := user_model()) is None:
        return None
    try:
        return model._meta.pk.to_python(user_id)
    except ValidationError:
        return None


def is_verified(user: Any, session_hash: str | None) -> bool:
    """Whether the password of ``user`` fits a session, under the present secret key or an old one.

    As Django's ``get_user`` decides.
    """
    if not hasattr(user, "get_session_auth_hash"):
        return True
    if not session_hash:
        return False
    if constant_time_compare(session_hash, user.get_session_auth_hash()):
        return True
    fallbacks = user.get_session_auth_fallback_hash()
    return any(constant_time_compare(session_hash, fallback) for fallback in fallbacks)


def is_default_resolver() -> bool:
    """Whether ``ROLE_RESOLVER`` is our own."""
    return bool(Conf.ROLE_RESOLVER.default == conf.ROLE_RESOLVER)


def _is_shared(backend: Any) -> bool:
    # Its module cannot be imported before Django's apps are loaded; `asgi.py` imports this one.
    plain = import_string("django.contrib.auth.backends.ModelBackend")
    return getattr(type(backend), "get_user", None) is plain.get_user


def _primary_key(identity: Identity) -> Any:
    return get_user_model()._meta.pk.to_python(identity.user_id)


def _load_users(keys: Collection[Any]) -> dict[Any, Any]:
    if not keys:
        return {}
    model = get_user_model()
    found = _users_of(model, keys)
    if has_django_groups(model) and is_default_resolver():
        found = found.prefetch_related("groups")
    return {user.pk: user for user in found}


def _users_of(model: Any, keys: Collection[Any]) -> Any:
    return model._default_manager.filter(pk__in=keys)
