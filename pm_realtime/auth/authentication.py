"""Authentication of a handshake: the identity behind its session cookie."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.db import InterfaceError, OperationalError, router
from django.http import parse_cookie

from pm_realtime.accounts import has_accounts, is_logged_in, is_of_user_model
from pm_realtime.auth import sessions
from pm_realtime.auth.database import reading_primary, run_handshake
from pm_realtime.auth.digests import digest_of
from pm_realtime.auth.identity import (
    Identity,
    Scope,
    additions_to,
    anonymous,
    identity_of,
    user_of_session,
    with_additions,
)
from pm_realtime.auth.users import CurrentUsers, is_default_resolver, is_verified
from pm_realtime.concurrency import Coalescer, PerLoop
from pm_realtime.conf import conf
from pm_realtime.exceptions import CloseConnection, CommandError
from pm_realtime.observability import log_failure
from pm_realtime.protocol import INTERNAL_ERROR, CloseCode, ErrorCode
from pm_realtime.roles import role_of

logger = logging.getLogger("pm_realtime.auth")


async def authenticate(scope: Scope) -> Identity:
    """The identity behind ``scope``, in one call in a database thread (none without a cookie).

    A user that a middleware of the site has put into ``scope["user"]`` is taken as it is, unless it
    has changed since then. Raises
    ``CloseConnection`` for an anonymous user if ``ALLOW_ANONYMOUS`` is False, and
    ``CommandError`` with ``INTERNAL_ERROR`` if the database or the role resolver fails.
    """
    try:
        identity = await _identify(scope)
    except CloseConnection:
        raise  # Of the role resolver, which may close with a code of its own.
    except Exception as error:
        log_failure(logger, "A handshake could not be authenticated.", error)
        raise CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR) from None
    if not identity.is_authenticated and not conf.ALLOW_ANONYMOUS:
        raise CloseConnection(CloseCode.SESSION_ENDED, "log in first")
    return identity


def session_name(scope: Scope) -> str | None:
    """The name of the session in the cookies of ``scope``, which is not read; None without one."""
    key = _session_key(scope)
    return sessions.name_of(key, {}) if key else None


def _session_key(scope: Scope) -> str:
    return cookies(scope).get(settings.SESSION_COOKIE_NAME, "")


def cookies(scope: Scope) -> dict[str, str]:
    """All cookies in the headers of ``scope``."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name == b"cookie":
            found.update(parse_cookie(value.decode("latin1")))
    return found


async def _identify(scope: Scope) -> Identity:
    user, key = scope.get("user"), _session_key(scope)
    if user is None and not (key and _has_sessions()):
        return anonymous()
    if user is not None:
        return await run_handshake(_identify_user, user, scope.get("session"))
    if _may_be_coalesced(key):
        return await _coalescers.get().ask(key)
    return await run_handshake(_identify_key, key)


def _has_sessions() -> bool:
    """Whether a session of this site can be that of a user."""
    return has_accounts() and sessions.are_kept()


def _may_be_coalesced(key: str) -> bool:
    """Whether the session ``key`` may be read together with those of other handshakes.

    Not if a database router may choose another database for each handshake. Nor if the key is
    none of Django's: a database fails over certain characters, and then for all of a batch.
    """
    return (
        not settings.DATABASE_ROUTERS
        and key.isascii()
        and key.isalnum()
        and sessions.are_read_at_once()
        and is_default_resolver()
    )


@reading_primary()
def _identify_keys(keys: Sequence[str]) -> Sequence[Identity | Exception]:
    """The identities of the sessions ``keys``. An error over one leaves the others theirs."""
    if len(keys) > 1:
        try:
            return _identify_together(keys)
        except (OperationalError, InterfaceError):
            raise  # The database is away, for each of them.
        except Exception:
            pass
    return [_try_to_identify(key) for key in keys]


_coalescers: Final = PerLoop[Coalescer[str, Identity]](
    lambda: Coalescer(lambda keys: run_handshake(_identify_keys, keys))
)


def _try_to_identify(key: str) -> Identity | Exception:
    try:
        return _identify_key(key)
    except Exception as error:
        return error


@reading_primary()
def _identify_key(key: str) -> Identity:
    session = sessions.read(key)
    if session is None:
        return anonymous()
    user = user_of_session(dict(session.auth))
    return identity_of(user, session, role_of(user))


def _identify_together(keys: Sequence[str]) -> list[Identity]:
    """As :func:`_identify_key` for each, with one query for all sessions, users and groups."""
    found = sessions.read_many(keys)
    unknown = get_user_model()()
    claims = {
        key: Identity(unknown, session.auth[SESSION_KEY], session=session)
        for key, session in found.items()
    }
    users = CurrentUsers(list(claims.values()))
    return [_verify(claims[key], users) if key in claims else anonymous() for key in keys]


def _verify(claim: Identity, users: CurrentUsers) -> Identity:
    """The identity that a session claims, if Django would accept the session for a request."""
    session = claim.session
    if session is None or session.auth.get(BACKEND_SESSION_KEY) not in (
        settings.AUTHENTICATION_BACKENDS
    ):
        return anonymous()
    user = users.get(claim)
    if user is None or not is_verified(user, session.auth.get(HASH_SESSION_KEY)):
        return anonymous()
    return identity_of(user, session, users.role_of(user))


@reading_primary()
def _identify_user(user: Any, session: Any) -> Identity:
    """The identity of a ``user`` from the scope, with ``session`` if it is a session of theirs.

    The middleware has read both before the handshake began to listen for changes, so they are read
    again. If the user has not changed, it is the object of the middleware that counts.
    """
    if not is_logged_in(user):
        return Identity(user)
    key = getattr(session, "session_key", None) if _has_sessions() else None
    found = sessions.read(key) if key else None
    if found is not None and found.auth[SESSION_KEY] != str(user.pk):
        found = None
    if found is None and key and session.get(SESSION_KEY) == str(user.pk):
        return anonymous()  # The session of the user has ended.
    claim = identity_of(user, found, None)
    users = CurrentUsers([claim])
    current = users.get(claim)
    if current is None or (found and not is_verified(current, found.auth.get(HASH_SESSION_KEY))):
        return anonymous()
    additions = additions_to(user)
    if _is_of_replica(user) or digest_of(current) != claim.digest:
        claim = identity_of(with_additions(current, additions), found, None)
    # Our own resolver goes by what was read now; a site's may go by what its middleware has added.
    role = users.role_of(current if is_default_resolver() else claim.user)
    return replace(claim, role=role, additions=additions)


def _is_of_replica(user: Any) -> bool:
    """Whether the site has read ``user`` from a database that may lag behind."""
    if not settings.DATABASE_ROUTERS or not is_of_user_model(user):
        return False
    return user._state.db not in (None, router.db_for_write(user.__class__))
