"""Revocation: whether a connection may still be open, and in its rooms.

While that is suspect, the hub holds what arrives for the connection and its commands wait. So no
message reaches a user, and no command is carried out for one, who has just lost the right to it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pm_realtime.auth import (
    Identity,
    Rechecker,
    RecheckResult,
    are_in_cookies,
    get_rechecker,
)
from pm_realtime.backends import get_backend
from pm_realtime.connection.own_streams import joining_of_gained
from pm_realtime.connection.state import Connection
from pm_realtime.exceptions import BackendError
from pm_realtime.hub import get_hub
from pm_realtime.layer import CookieRenewed, role_group
from pm_realtime.observability import log_failure
from pm_realtime.protocol import CloseCode
from pm_realtime.roles import roles_up_to
from pm_realtime.rooms import follow_presence_rights, reconsider, renew_profiles

logger = logging.getLogger("pm_realtime.auth")

REASONS: Final = {
    CloseCode.SESSION_ENDED: "the session has ended",
    CloseCode.USER_GONE: "the user is gone",
    CloseCode.OVERLOADED: "nobody can tell who this is",
}


@dataclass(slots=True, weakref_slot=True, eq=False, repr=False)
class Revocation:
    """Belongs to one connection and its event loop."""

    _connection: Connection
    #: Grows with each change, and each time that a change was found.
    version: int = 0
    #: The reasons to hold what arrives, and the event that there is none left.
    _holds: int = 0
    _certain: asyncio.Event | None = None
    _is_suspect: bool = False
    #: The name of the session if it has another key.
    _rekeyed: str | None = None
    _has_ended: bool = False
    #: Changes of transactions that are still open.
    _pending: set[str | None] = field(default_factory=set)
    #: Whether rules are to be asked anew even if the user is found unchanged.
    _must_ask: bool = False
    #: Whether a control message about a room may have been lost.
    _may_have_missed: bool = False
    #: Until when a session that seems to have ended gets another look; monotonic seconds.
    _second_look_until: float | None = None
    _cookie_expected_until: float = -math.inf
    _rechecker: Rechecker | None = None
    #: The role whose groups the connection is in.
    _role: str | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def identity(self) -> Identity:
        return self._connection.identity

    def start(self) -> None:
        """Have the identity of the connection, which has joined its own groups, re-checked."""
        self._role = self.identity.role
        if self.identity.is_authenticated:
            self._rechecker = get_rechecker()
            self._rechecker.add(self)

    def stop(self) -> None:
        if self._rechecker is not None:
            self._rechecker.discard(self)

    @property
    def is_certain(self) -> bool:
        return self._holds == 0

    async def until_certain(self) -> None:
        """Return when nothing about the connection is suspect."""
        while self._certain is not None:
            await self._certain.wait()

    def hold(self) -> None:
        """Hold what arrives until :meth:`release` was called as often as this."""
        self._holds += 1
        if self._certain is None:
            self._certain = asyncio.Event()
            get_hub().fan_out.hold(self._connection)

    def release(self) -> None:
        self._holds -= 1
        if self._holds == 0 and self._certain is not None:
            get_hub().fan_out.release_held(self._connection)
            self._certain.set()
            self._certain = None

    def refresh(self, change: str | None = None, *, if_changed: bool = False) -> None:
        """Something has changed, ``change`` if that was expected: hold everything until it is
        known what. With ``if_changed`` the user was saved, perhaps without a change."""
        if not self.identity.is_authenticated:
            return
        self._pending.discard(change)
        self._must_ask |= not if_changed
        self.version += 1
        self._suspect()
        self._look_anew()

    def expect_change(self, change: str) -> None:
        """An open transaction changes something: hold everything until it is committed. Messages
        that are sent after the commit may overtake the control message about it."""
        if not self.identity.is_authenticated:
            return
        self._pending.add(change)
        self._suspect()
        loop = asyncio.get_running_loop()
        loop.call_later(
            self._connection.connection_timings.transaction_seconds, self._expect_no_more, change
        )

    def _expect_no_more(self, change: str) -> None:
        if change in self._pending:
            self._pending.discard(change)
            self._must_ask = True
            self._look_anew()

    def recheck(self) -> None:
        """Control messages may have been lost: look again, also at rooms, but hold nothing."""
        if self.identity.is_authenticated:
            self._may_have_missed = True
            self._look_anew()
        else:
            self._connection.begin(self._reconsider())

    def refresh_room(self, room: str) -> None:
        """The rules of ``room`` have changed."""
        if room in self._connection.rooms:
            self.hold()
            self._connection.begin(self._reconsider_held(room))

    def end_session(self, session: str) -> None:
        """The user logged out of the session called ``session``."""
        if self._is_mine(session):
            self._end(CloseCode.SESSION_ENDED)

    def rekey_session(self, session: str) -> None:
        """The response with the new key of ``session`` is ready: the client has to come again with
        it, but not before its browser has it."""
        if self._is_mine(session):
            self._leave_session(session, self._connection.connection_timings.cookie_delay_seconds)

    def expect_cookie(self, session: str) -> None:
        """The browser will get another cookie for ``session`` when its response is ready. Until
        then a signed cookie may not fit its user's new password, and another session is gone."""
        if self._is_mine(session):
            seconds = self._connection.connection_timings.cookie_seconds
            self._cookie_expected_until = time.monotonic() + seconds
            if not are_in_cookies():
                self._leave_session(session, seconds)

    def _leave_session(self, session: str, seconds: float) -> None:
        """Recheck the user alone, and close in ``seconds``: the session has another key."""
        self._rekeyed = session
        self._connection.identity = replace(self.identity, session=None)
        self._look_anew()
        self._connection.begin(self._end_rekeyed(seconds))

    async def _end_rekeyed(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._end(CloseCode.OVERLOADED, "the session has a new key")

    def renew_cookie(self, message: CookieRenewed) -> None:
        """The browser got another cookie for a signed-cookie session."""
        identity = self.identity
        if self._is_mine(message.session) and identity.session is not None:
            changed = identity.session.renewed(message.auth_hash, message.expires_at)
            self._connection.identity = replace(identity, session=changed)
            if self._rechecker is not None:
                self._rechecker.update_session(self)

    def apply(self, result: RecheckResult) -> None:
        """Follow what a re-check found: close, change identity, or look again later."""
        if result.code is not None:
            if result.code != CloseCode.SESSION_ENDED or not self._may_be_changing(result):
                self._end(result.code)
        elif result.identity is None:
            self.recheck_failed()
        elif not result.is_session_only:
            self._second_look_until = None
            self._adopt(result.identity)
        elif not self._is_suspect:
            self._connection.identity = result.identity

    def _may_be_changing(self, result: RecheckResult) -> bool:
        """Whether a session that seems to have ended may only be about to change: then everything
        is held until it is read again."""
        if not (result.is_uncertain or self._is_suspect):
            return False
        now, pause = time.monotonic(), self._connection.connection_timings.second_look_seconds
        if self._second_look_until is None:
            self._second_look_until = now + pause
        until = self._second_look_until
        if result.is_uncertain:
            until = max(until, self._cookie_expected_until)
        if now >= until:
            return False
        self._suspect()
        if self._rechecker is not None:
            asyncio.get_running_loop().call_later(pause, self._rechecker.recheck_soon, self)
        return True

    def _adopt(self, identity: Identity) -> None:
        before, self._connection.identity = self.identity, identity
        is_changed = self._must_ask or _differ(before, identity)
        if is_changed:
            self._suspect()
            self.version += 1
        if self._is_suspect:
            must_ask = is_changed or self._may_have_missed
            self._connection.begin(self._follow(self.version, must_ask))
        elif self._may_have_missed:
            self._connection.begin(self._reconsider())
        self._must_ask = self._may_have_missed = False

    def recheck_failed(self) -> None:
        """The user cannot be read. If that is suspect, the client has to come again."""
        if self._is_suspect:
            self._end(CloseCode.OVERLOADED)

    def _look_anew(self) -> None:
        """Have the identity re-checked now."""
        # A result that was read for another object than the present one is dropped.
        self._connection.identity = replace(self.identity)
        if self._rechecker is not None:
            self._rechecker.recheck_soon(self)

    def _is_mine(self, name: str) -> bool:
        session = self.identity.session
        return name == (session.name if session is not None else self._rekeyed)

    def _end(self, code: CloseCode, reason: str = "") -> None:
        if self._has_ended:
            return
        self._has_ended = True
        connection_id, reason = self._connection.connection_id, reason or REASONS[code]
        user_id = self.identity.user_id
        about = {"connection_id": connection_id, "user_id": user_id, "code": int(code)}
        logger.info("%s ends with %d: %s.", connection_id, code, reason, extra=about)
        self._connection.end(code, reason)

    async def _follow(self, version: int, must_ask: bool) -> None:
        """Have groups follow the identity, and rooms if they must, and release what is held, unless
        there is a later change, or one that is not committed yet."""
        try:
            async with self._lock:
                await self._follow_role()
                if must_ask:
                    await reconsider(self._connection)
                    await follow_presence_rights(self._connection)
                    # Code of the site that may be slow, for which nothing has to be held.
                    self._connection.begin(renew_profiles(self._connection))
        except Exception as error:
            self._fail(error)
            return
        if version == self.version and self._is_suspect and not self._pending:
            self._is_suspect = False
            self.release()

    async def _reconsider(self, rooms: Sequence[str] | None = None) -> None:
        try:
            await reconsider(self._connection, rooms)
        except BackendError as error:
            # Open connections stay open in an outage. It has left its rooms here.
            logger.debug("A connection could not tell that it left a room: %s", error)
        except Exception as error:
            self._fail(error)

    async def _reconsider_held(self, room: str) -> None:
        try:
            await self._reconsider([room])
        finally:
            self.release()

    def _fail(self, error: Exception) -> None:
        """The connection could not follow its rights: its client has to come again."""
        if isinstance(error, BackendError):
            logger.debug("A connection could not follow its rights: %s", error)
        else:
            log_failure(logger, "A connection could not follow its rights.", error)
        self._end(CloseCode.OVERLOADED)

    async def _follow_role(self) -> None:
        role = self.identity.role
        if role == self._role:
            return
        before, now = roles_up_to(self._role), roles_up_to(role)
        self._role = role
        for left in before[len(now) :]:
            await self._connection.leave_group(role_group(left))
        for gained in now[len(before) :]:
            await self._connection.join_group(**joining_of_gained(gained)._asdict())
        await get_backend().set_role(self._connection.connection_id, role)

    def _suspect(self) -> None:
        """Hold everything until :meth:`_follow` releases it, however many reasons there are."""
        if not self._is_suspect:
            self._is_suspect = True
            self.hold()


def _differ(before: Identity, now: Identity) -> bool:
    """Whether the user has changed in a way that rules may depend on."""
    return (before.role, before.digest) != (now.role, now.digest)
