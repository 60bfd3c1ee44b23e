"""One connection's right to be open and to be in its rooms, and what becomes of it in between.

While that is in doubt, what arrives for the connection is held back and its commands wait: nothing
reaches somebody, and nobody does something, who may not any more.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol

from django.db.models import Model

from pm_realtime.auth import Identity, RecheckResult, get_rechecker
from pm_realtime.backends import get_backend
from pm_realtime.exceptions import BackendError
from pm_realtime.hub import Hub, Member
from pm_realtime.layer import authenticated_group, connection_group, role_group, user_group
from pm_realtime.protocol import CloseCode
from pm_realtime.roles import roles_up_to
from pm_realtime.rooms import Connection as RoomConnection
from pm_realtime.rooms import reconsider

logger = logging.getLogger("pm_realtime.auth")

#: Seconds until a session is looked at once more that is gone, or does not fit its user's new
#: password, just after something has changed: ``update_session_auth_hash`` comes after the user
#: was saved, and its word of the session's new key may come behind that of the user.
SECOND_LOOK: Final = 0.5
#: Seconds for which a transaction that changes something is waited for; one that was rolled back
#: sends no word.
TRANSACTION: Final = 1.0
#: Seconds for which a session that was given another key may be empty or not know a new password,
#: and between two looks: Django writes it when the response is ready.
MOVING: Final = 10.0
PAUSE: Final = 1.0
#: Seconds after which the response that gives the browser a new cookie has arrived.
COOKIE_DELAY_SECONDS: Final = 1.0

REASONS: Final = {
    CloseCode.SESSION_ENDED: "the session has ended",
    CloseCode.USER_GONE: "the user is gone",
    CloseCode.OVERLOADED: "nobody can tell who this is",
}


class Connection(RoomConnection, Member, Protocol):
    """What is known here of the connection."""

    def end(self, code: int, reason: str = "") -> None: ...

    def begin(self, order: Coroutine[Any, Any, None]) -> None:
        """Carry out ``order`` beside what the connection does, until it ends."""

    def apply(self, result: RecheckResult) -> None: ...

    def recheck_failed(self) -> None: ...


class Revocation:
    """Belongs to one connection and its event loop."""

    __slots__ = (
        "_announced",
        "_connection",
        "_doubtful_since",
        "_doubts",
        "_has_ended",
        "_holds",
        "_hub",
        "_is_in_doubt",
        "_lock",
        "_may_have_missed",
        "_moved_at",
        "_role",
        "_settled",
        "version",
    )

    def __init__(self, connection: Connection, hub: Hub) -> None:
        self._connection = connection
        self._hub = hub
        #: Counts how often the rights were settled anew.
        self.version = 0
        self._holds = 0
        self._settled: asyncio.Event | None = None
        self._doubts = 0
        self._is_in_doubt = self._has_ended = False
        self._doubtful_since: float | None = None
        #: Whether an order about a room may have been lost.
        self._may_have_missed = False
        #: Changes of transactions under way.
        self._announced: set[str | None] = set()
        self._moved_at = float("-inf")
        #: The role whose groups the connection is in.
        self._role = connection.identity.role
        self._lock = asyncio.Lock()

    @property
    def is_certain(self) -> bool:
        return self._holds == 0

    async def until_certain(self) -> None:
        """Return when nothing about the connection is in doubt."""
        while self._settled is not None:
            await self._settled.wait()

    def refresh(self, change: str | None = None) -> None:
        """Something has changed: hold everything until it is known what.

        ``change`` names what was announced by :meth:`doubt`.
        """
        if not self._connection.identity.is_authenticated:
            return
        self._announced.discard(change)
        self._doubts += 1
        self._begin_doubt()
        self._look_anew()

    def doubt(self, change: str) -> None:
        """A transaction is about to change something: hold everything until word of that comes.

        What is sent after its commit may come before that word.
        """
        if not self._connection.identity.is_authenticated:
            return
        self._announced.add(change)
        self._begin_doubt()
        asyncio.get_running_loop().call_later(TRANSACTION, self._wait_no_longer, change)

    def _wait_no_longer(self, change: str) -> None:
        if change in self._announced:
            self._announced.discard(change)
            self._look_anew()

    def recheck(self) -> None:
        """Orders may have been lost: look, at rooms too, but go on meanwhile."""
        if self._connection.identity.is_authenticated:
            self._may_have_missed = True
            self._look_anew()
        else:
            self._connection.begin(self._reconsider_all())

    def refresh_room(self, room: str) -> None:
        """The rules of ``room`` have changed."""
        if room in self._connection.rooms:
            self._hold()
            self._connection.begin(self._reconsider(room))

    def end_session(self, session: str) -> None:
        """Somebody logged out of the session called ``session``."""
        if self._is_mine(session):
            self._end(CloseCode.SESSION_ENDED)

    def rekey_session(self, session: str) -> None:
        """Django gave ``session`` another key: the client comes again with its new cookie."""
        if self._is_mine(session):
            self._moved_at = time.monotonic()
            self._connection.begin(self._close_rekeyed())

    def expect_cookie(self, session: str) -> None:
        """The browser will get another cookie for the signed-cookie session ``session``."""
        if self._is_mine(session):
            self._moved_at = time.monotonic()

    def renew_cookie(self, session: str, auth_hash: str, expires_at: float) -> None:
        """The browser got another cookie for the signed-cookie session ``session``."""
        identity = self._connection.identity
        if self._is_mine(session) and identity.session is not None:
            changed = identity.session.renewed(auth_hash, expires_at)
            self._connection.identity = replace(identity, session=changed)
            get_rechecker().update_session(self._connection)

    def apply(self, result: RecheckResult) -> None:
        """Take what a re-check found: end, become another, or look again later."""
        if result.code is not None:
            if not self._is_spared(result):
                self._end(result.code)
            return
        if result.identity is None:
            self.recheck_failed()
            return
        if not result.is_session_only:
            self._doubtful_since = None
            self._adopt(result.identity)
        elif not self._is_in_doubt:
            self._connection.identity = result.identity

    def _adopt(self, identity: Identity) -> None:
        before, self._connection.identity = self._connection.identity, identity
        if self._is_in_doubt or _differ(before, identity):
            self._begin_doubt()
            self._doubts += 1
            self._connection.begin(self._settle(self._doubts))
        elif self._may_have_missed:
            self._connection.begin(self._reconsider_all())
        self._may_have_missed = False

    def recheck_failed(self) -> None:
        """Nobody can find out who this is: where that is in doubt, its client is to come again."""
        if self._is_in_doubt:
            self._end(CloseCode.OVERLOADED)

    def _look_anew(self) -> None:
        """Have somebody look now; what was read before does not count any more."""
        # The checker tells nobody what it found of another identity than the present one.
        self._connection.identity = replace(self._connection.identity)
        get_rechecker().recheck_soon(self._connection)

    async def _close_rekeyed(self) -> None:
        """Wait until the browser has the new cookie: a client must not come again with the old."""
        await asyncio.sleep(COOKIE_DELAY_SECONDS)
        self._end(CloseCode.OVERLOADED)

    def _is_mine(self, name: str) -> bool:
        session = self._connection.identity.session
        return session is not None and session.name == name

    def _end(self, code: CloseCode) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        logger.info(
            "%s ends with %d: %s.",
            self._connection.connection_id,
            code,
            REASONS[code],
            extra={
                "connection_id": self._connection.connection_id,
                "user_id": self._connection.identity.user_id,
                "code": int(code),
            },
        )
        self._connection.end(code, REASONS[code])

    def _is_spared(self, result: RecheckResult) -> bool:
        """Whether a session that seems to have ended may only be about to change."""
        if result.code != CloseCode.SESSION_ENDED:
            return False
        now = time.monotonic()
        if now - self._moved_at < MOVING and not self._has_expired():
            if result.is_uncertain:
                self._refresh_later(SECOND_LOOK)
                return True
            if result.identity is not None:
                self._adopt(result.identity)
            self._look_again(PAUSE)
            return True
        return (result.is_uncertain or self._is_in_doubt) and self._is_spared_once(now)

    def _has_expired(self) -> bool:
        session = self._connection.identity.session
        return session is not None and session.is_expired

    def _is_spared_once(self, now: float) -> bool:
        if self._doubtful_since is None:
            self._doubtful_since = now
            self._refresh_later(SECOND_LOOK)
            return True
        return now - self._doubtful_since < SECOND_LOOK * 0.9

    def _refresh_later(self, seconds: float) -> None:
        """Hold everything now, and look in ``seconds``."""
        self._begin_doubt()
        self._look_again(seconds)

    def _look_again(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, get_rechecker().recheck_soon, self._connection)

    async def _settle(self, doubts: int) -> None:
        """Have groups and rooms follow what was found, and let go what was held, unless more has
        changed or was found since."""
        try:
            async with self._lock:
                await self._follow_role()
                await self._reconsider_all()
        except BackendError as error:
            logger.debug("A connection could not follow its user: %s", error)
            self._end(CloseCode.OVERLOADED)
            return
        if doubts == self._doubts and self._is_in_doubt and not self._announced:
            self._is_in_doubt = False
            self._release()

    async def _reconsider(self, room: str) -> None:
        try:
            await reconsider(self._connection, [room])
        finally:
            self._release()

    async def _reconsider_all(self) -> None:
        await reconsider(self._connection)

    async def _follow_role(self) -> None:
        role = self._connection.identity.role
        if role == self._role:
            return
        before, now = roles_up_to(self._role), roles_up_to(role)
        self._role = role
        for left in before[len(now) :]:
            await self._connection.leave_group(role_group(left))
        for joined in now[len(before) :]:
            await self._connection.join_group(role_group(joined))
        await get_backend().set_role(self._connection.connection_id, role)

    def _begin_doubt(self) -> None:
        """Hold everything until :meth:`_settle` ends the doubt, however many reasons it has."""
        if not self._is_in_doubt:
            self._is_in_doubt = True
            self._hold()

    def _hold(self) -> None:
        self._holds += 1
        if self._settled is None:
            self._settled = asyncio.Event()
            self._hub.hold(self._connection)

    def _release(self) -> None:
        self._holds -= 1
        if self._holds == 0 and self._settled is not None:
            self.version += 1
            self._hub.release_held(self._connection)
            self._settled.set()
            self._settled = None


def groups_of(identity: Identity, connection_id: str) -> list[str]:
    """The groups a connection is born into; what is sent to a role goes to its own group."""
    own = []
    if identity.is_authenticated:
        own.append(user_group(str(identity.user_id)))
        own.append(authenticated_group())
        own.extend(map(role_group, roles_up_to(identity.role)))
    return [*own, connection_group(connection_id)]


def _differ(before: Identity, now: Identity) -> bool:
    """Whether the user has changed in what rules may go by."""
    return before.role != now.role or _facts(before.user) != _facts(now.user)


def _facts(user: Any) -> dict[str, Any]:
    if not isinstance(user, Model):
        return {}
    return {
        field.attname: user.__dict__.get(field.attname)
        for field in user._meta.concrete_fields
        if field.attname != "last_login"
    }
