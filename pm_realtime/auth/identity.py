"""Who is at the other end: the user behind the session cookie of a handshake.

And whether that is still so: :func:`recheck_identities` judges many open connections at once.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user,
    get_user_model,
    load_backend,
)
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError
from django.http import parse_cookie
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string

from pm_realtime.auth import sessions
from pm_realtime.auth.database import run_handshake
from pm_realtime.auth.sessions import Session
from pm_realtime.auth.waiting import waiting_handshake
from pm_realtime.concurrency import Coalescer, PerLoop
from pm_realtime.conf import Conf, conf
from pm_realtime.exceptions import CloseConnection, CommandError
from pm_realtime.observability import throttle
from pm_realtime.protocol import INTERNAL_ERROR, CloseCode, ErrorCode
from pm_realtime.roles import role_of

logger = logging.getLogger("pm_realtime.auth")

Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a connection as it was last found.

    ``user_id`` is the primary key as JSON can hold it (numbers stay numbers), None for an
    anonymous user; ``name`` is what others see; ``session`` is None without a Django session.
    """

    user: Any
    user_id: int | str | None = None
    name: str = ""
    role: str | None = None
    session: Session | None = None

    @property
    def is_authenticated(self) -> bool:
        return self.user_id is not None


@dataclass(frozen=True, slots=True)
class RecheckResult:
    """The present identity, or the ``code`` with which the connection has to end.

    Without either, the recheck failed for this connection alone. ``is_uncertain``: the password was
    changed, and ``update_session_auth_hash`` may be about to keep this session.
    ``is_session_only``: the user and the role were not read.
    """

    identity: Identity | None = None
    code: CloseCode | None = None
    is_uncertain: bool = False
    is_session_only: bool = False


async def authenticate(scope: Scope) -> Identity:
    """The identity behind ``scope``, found in one hop to the database (none without a cookie).

    A user that an outer middleware has put into ``scope["user"]`` is taken as it is. Raises
    ``CloseConnection`` for an anonymous one where ``ALLOW_ANONYMOUS`` is False, and
    ``CommandError`` with ``INTERNAL_ERROR`` where the database or the role resolver fails.
    """
    try:
        identity = await _find_out(scope)
    except CloseConnection:
        raise
    except Exception as error:
        count = throttle.note_error(error)
        if count:
            what = "Who opens a connection could not be found out; %d times."
            logger.error(what, count, exc_info=error)
        raise CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR) from None
    if not identity.is_authenticated and not conf.ALLOW_ANONYMOUS:
        raise CloseConnection(CloseCode.SESSION_ENDED, "log in first")
    return identity


async def _find_out(scope: Scope) -> Identity:
    given = scope.get("user")
    session_key = cookies(scope).get(settings.SESSION_COOKIE_NAME, "")
    if given is None and not session_key:
        return anonymous()
    with waiting_handshake():
        if given is not None:
            return await run_handshake(_identify_given, given, scope.get("session"))
        if _may_be_asked_together(session_key):
            return await _coalescers.get().ask(session_key)
        return await run_handshake(_identify, session_key)


def _may_be_asked_together(session_key: str) -> bool:
    """Whether it may be found out together with others whose ``session_key`` it is.

    Not where a router may choose another database for each handshake, nor where the key is none of
    Django's: there are letters over which a database fails, and then it would for all.
    """
    return (
        not settings.DATABASE_ROUTERS
        and session_key.isascii()
        and session_key.isalnum()
        and sessions.are_read_at_once()
        and _is_resolver_ours()
    )


async def _identify_in_one_hop(session_keys: Sequence[str]) -> Sequence[Identity | Exception]:
    return await run_handshake(_identify_all, session_keys)


#: Where the identities of those who connect at the same time are found together.
_coalescers: Final = PerLoop(lambda: Coalescer(_identify_in_one_hop))


def anonymous() -> Identity:
    """The identity of nobody: Django's ``AnonymousUser``."""
    return Identity(get_user(_request({})))


def owner_key_of(identity: Identity, scope: Scope) -> tuple[int | str | None, str | None]:
    """Who may go on in the place of a connection that drops: the same user in the same session.

    An anonymous visitor is known by the cookie of their session, where they have one.
    """
    if identity.is_authenticated:
        return identity.user_id, identity.session.name if identity.session else None
    return None, session_name(scope)


def session_name(scope: Scope) -> str | None:
    """The name of the session whose cookie came with a handshake, valid or not; None if none."""
    key = cookies(scope).get(settings.SESSION_COOKIE_NAME)
    return sessions.name_of(key, {}) if key else None


def cookies(scope: Scope) -> dict[str, str]:
    """The cookies of a handshake."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name == b"cookie":
            found.update(parse_cookie(value.decode("latin1")))
    return found


class _ReadOnlySession(dict[str, Any]):
    """The data of a session for :func:`django.contrib.auth.get_user`, which may want to write.

    After a rotation of ``SECRET_KEY`` it renews the session's key, and a handshake cannot hand
    the browser the new cookie: the next request would find itself logged out. That request does
    the renewing.
    """

    def cycle_key(self) -> None:
        pass

    def flush(self) -> None:
        self.clear()


def _identify(session_key: str) -> Identity:
    session = sessions.read(session_key)
    if session is None:
        return anonymous()
    user = get_user(_request(dict(session.auth)))
    return _identity(user, session, role_of(user))


def _identify_all(session_keys: Sequence[str]) -> Sequence[Identity | Exception]:
    """The identities behind ``session_keys``; one that fails leaves the others theirs."""
    if len(session_keys) > 1:
        try:
            return _identify_together(session_keys)
        except (OperationalError, InterfaceError):
            raise  # Nobody could be asked about anybody.
        except Exception:
            pass
    return [_attempt(session_key) for session_key in session_keys]


def _attempt(session_key: str) -> Identity | Exception:
    try:
        return _identify(session_key)
    except Exception as error:
        return error


def _identify_together(session_keys: Sequence[str]) -> list[Identity]:
    """As :func:`_identify` each of them, with a query for all sessions, users and groups."""
    found = sessions.read_many(session_keys)
    nobody = get_user_model()()
    claims = {
        key: Identity(nobody, session.auth[SESSION_KEY], session=session)
        for key, session in found.items()
    }
    users = _Users(list(claims.values()))
    return [_grant(claims[key], users) if key in claims else anonymous() for key in session_keys]


def _grant(claim: Identity, users: "_Users") -> Identity:
    """The identity that a session claims, where Django would take it for a request."""
    session = claim.session
    if session is None or session.auth.get(BACKEND_SESSION_KEY) not in (
        settings.AUTHENTICATION_BACKENDS
    ):
        return anonymous()
    user = users.get(claim)
    if user is None or not _is_verified(user, session.auth.get(HASH_SESSION_KEY)):
        return anonymous()
    return _identity(user, session, users.role_of(user))


def _request(session_data: dict[str, Any]) -> Any:
    """As much of a request as ``get_user`` looks at."""
    return SimpleNamespace(session=_ReadOnlySession(session_data))


def _identify_given(user: Any, session: Any) -> Identity:
    """A user found by somebody else; the session counts where it is this user's."""
    identity = _identity(user, None, role_of(user))
    key = getattr(session, "session_key", None)
    if not identity.is_authenticated or not key:
        return identity
    found = sessions.read(key)
    if found is None or found.auth[SESSION_KEY] != str(user.pk):
        return identity
    return replace(identity, session=found)


def _identity(user: Any, session: Session | None, role: str | None) -> Identity:
    """All that is asked of ``user``, while the database may be used."""
    if not user.is_authenticated:
        return Identity(user)
    if user.pk is None:
        raise ValueError(f"expected a user with a primary key, got {user!r}")
    user_id = user.pk if isinstance(user.pk, int) else str(user.pk)
    return Identity(user, user_id, _name_of(user), role, session)


def _name_of(user: Any) -> str:
    """The full name where the user model has one, else the user name."""
    get_full_name = getattr(user, "get_full_name", None)
    return str((get_full_name and get_full_name()) or user.get_username())


def recheck_identities(identities: Sequence[Identity]) -> list[RecheckResult]:
    """Whether logged-in ``identities`` still have a right to their connections, in their order.

    Decided as Django decides for a request. Uses the database: a query each for the sessions,
    users and groups of all, where sessions are in the database and the authentication backend and
    the role resolver are Django's and our own; one by one elsewhere. Raises a database error where
    nothing could be found out.
    """
    sessions_now = _read_sessions(identities)
    users = _Users(identities)
    return [_judge(identity, sessions_now, users) for identity in identities]


def recheck_sessions(identities: Sequence[Identity]) -> list[RecheckResult]:
    """The same for their sessions only: whether those have ended, and if not when they will."""
    sessions_now = _read_sessions(identities)
    verdicts = (_judge_session(identity, sessions_now) for identity in identities)
    return [replace(verdict, is_session_only=True) for verdict in verdicts]


def _read_sessions(identities: Sequence[Identity]) -> Mapping[str, Session]:
    known = [identity.session for identity in identities if identity.session is not None]
    if sessions.are_in_cookies():
        return {session.key: session for session in known if not session.is_expired}
    return sessions.read_many([session.key for session in known])


def _judge(
    identity: Identity, sessions_now: Mapping[str, Session], users: "_Users"
) -> RecheckResult:
    try:
        user = users.get(identity)
        if user is None:
            return RecheckResult(code=CloseCode.USER_GONE)
        verdict = _judge_session(identity, sessions_now)
        role = users.role_of(user)
        if verdict.identity is None:
            return replace(verdict, identity=_identity(user, identity.session, role))
        session = verdict.identity.session
        if session is not None and not _is_verified(user, session.auth.get(HASH_SESSION_KEY)):
            return RecheckResult(code=CloseCode.SESSION_ENDED, is_uncertain=True)
        return RecheckResult(_identity(user, session, role))
    except DatabaseError:
        raise
    except Exception as error:
        if throttle.note_error(error):
            logger.exception("A connection could not be rechecked.")
        return RecheckResult()


def _judge_session(identity: Identity, sessions_now: Mapping[str, Session]) -> RecheckResult:
    if identity.session is None:
        return RecheckResult(identity)
    session = sessions_now.get(identity.session.key)
    if session is None or not _is_same_login(identity.session, session):
        return RecheckResult(code=CloseCode.SESSION_ENDED)
    return RecheckResult(replace(identity, session=session))


def _is_same_login(before: Session, now: Session) -> bool:
    if now.auth.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    return bool(now.auth[SESSION_KEY] == before.auth[SESSION_KEY])


def _is_verified(user: Any, session_hash: str | None) -> bool:
    """As ``get_user`` verifies a session: by the password, under the present secret or an old."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    if not session_hash:
        return False
    if constant_time_compare(session_hash, user.get_session_auth_hash()):
        return True
    return any(
        constant_time_compare(session_hash, fallback)
        for fallback in user.get_session_auth_fallback_hash()
    )


class _Users:
    """The users of ``identities`` as they are now, each as its own authentication backend sees it.

    Backends that find users as Django's own does share one query.
    """

    def __init__(self, identities: Sequence[Identity]) -> None:
        self._backends: dict[str, Any] = {}
        keys = (self._shared_key(identity) for identity in identities)
        self._shared = _load_users({key for key in keys if key is not None})
        #: By the identity of the user, who is kept here so that no other takes it over.
        self._roles: dict[int, tuple[Any, str | None]] = {}

    def get(self, identity: Identity) -> Any:
        """The user of ``identity``; None where it is deleted, or may not log in any more."""
        backend = self._backend_of(identity)
        if backend is not None and not _is_shared(backend):
            return backend.get_user(_primary_key(identity))
        if not isinstance(identity.user, get_user_model()):
            return identity.user
        user = self._shared.get(_primary_key(identity))
        if user is None:
            return None
        may_log_in = backend.user_can_authenticate(user) if backend else _is_active(user)
        return user if may_log_in else None

    def role_of(self, user: Any) -> str | None:
        """The role of a ``user`` that :meth:`get` gave; asked for once, however often it did."""
        if id(user) not in self._roles:
            self._roles[id(user)] = user, role_of(user)
        return self._roles[id(user)][1]

    def _shared_key(self, identity: Identity) -> Any:
        backend = self._backend_of(identity)
        if backend is not None and not _is_shared(backend):
            return None
        return _primary_key(identity) if isinstance(identity.user, get_user_model()) else None

    def _backend_of(self, identity: Identity) -> Any:
        """The authentication backend that logged ``identity`` in; None where nobody knows."""
        path = identity.session and identity.session.auth.get(BACKEND_SESSION_KEY)
        if not path or path not in settings.AUTHENTICATION_BACKENDS:
            return None
        if path not in self._backends:
            self._backends[path] = load_backend(path)
        return self._backends[path]


def _is_shared(backend: Any) -> bool:
    # Its module cannot be imported before Django's apps are loaded; `asgi.py` imports this one.
    plain = import_string("django.contrib.auth.backends.ModelBackend")
    return getattr(type(backend), "get_user", None) is plain.get_user


def _is_active(user: Any) -> bool:
    return bool(getattr(user, "is_active", True))


def _primary_key(identity: Identity) -> Any:
    return get_user_model()._meta.pk.to_python(identity.user_id)


def _load_users(keys: Iterable[Any]) -> dict[Any, Any]:
    model = get_user_model()
    found = model._default_manager.filter(pk__in=keys)
    has_groups = any(field.name == "groups" for field in model._meta.many_to_many)
    if has_groups and _is_resolver_ours():
        found = found.prefetch_related("groups")
    return {user.pk: user for user in found} if keys else {}


def _is_resolver_ours() -> bool:
    return bool(Conf.ROLE_RESOLVER.default == conf.ROLE_RESOLVER)
