"""Rechecks: whether open connections may go on, decided for many at once."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import Error as DatabaseError

from pm_realtime.auth import sessions
from pm_realtime.auth.database import reading_primary
from pm_realtime.auth.identity import Identity, identity_of, with_additions
from pm_realtime.auth.sessions import Session
from pm_realtime.auth.users import CurrentUsers, is_verified
from pm_realtime.observability import throttle
from pm_realtime.protocol import CloseCode

logger = logging.getLogger("pm_realtime.auth")


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


@reading_primary()
def recheck_identities(identities: Sequence[Identity]) -> list[RecheckResult]:
    """Whether the logged-in ``identities`` may go on, as Django decides for a request.

    The results have the order of ``identities``. Takes one query for all sessions, one for all
    users and one for their groups. Sessions, users and roles are read one by one if the site has
    its own session engine, authentication backend or role resolver. Raises a database error if
    nothing can be read.
    """
    current = _read_sessions(identities)
    users = CurrentUsers(identities)
    return [_decide(identity, current, users) for identity in identities]


@reading_primary()
def recheck_sessions(identities: Sequence[Identity]) -> list[RecheckResult]:
    """As :func:`recheck_identities`, but read the sessions only: whether, or when, they end."""
    current = _read_sessions(identities)
    results = (_decide_session(identity, current) for identity in identities)
    return [replace(result, is_session_only=True) for result in results]


def _read_sessions(identities: Sequence[Identity]) -> Mapping[str, Session]:
    known = [identity.session for identity in identities if identity.session is not None]
    if not known or sessions.are_in_cookies():
        return {session.key: session for session in known if not session.is_expired}
    return sessions.read_many([session.key for session in known])


def _decide(
    identity: Identity, current: Mapping[str, Session], users: CurrentUsers
) -> RecheckResult:
    try:
        user = users.get(identity)
        if user is None:
            return RecheckResult(code=CloseCode.USER_GONE)
        result = _decide_session(identity, current)
        if result.identity is None:
            return result
        session = result.identity.session
        if session is not None and not is_verified(user, session.auth.get(HASH_SESSION_KEY)):
            return RecheckResult(code=CloseCode.SESSION_ENDED, is_uncertain=True)
        user = with_additions(user, identity.additions)
        found = identity_of(user, session, users.role_of(user))
        return RecheckResult(replace(found, additions=identity.additions))
    except DatabaseError:
        raise
    except Exception as error:
        if throttle.note_error(error):
            logger.exception("A connection could not be rechecked.")
        return RecheckResult()


def _decide_session(identity: Identity, current: Mapping[str, Session]) -> RecheckResult:
    if identity.session is None:
        return RecheckResult(identity)
    session = current.get(identity.session.key)
    if session is None or not _is_same_login(identity.session, session):
        return RecheckResult(code=CloseCode.SESSION_ENDED)
    return RecheckResult(replace(identity, session=session))


def _is_same_login(before: Session, now: Session) -> bool:
    if now.auth.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    return bool(now.auth[SESSION_KEY] == before.auth[SESSION_KEY])
