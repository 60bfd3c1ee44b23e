"""The members of rooms that one event loop holds in Redis."""

import asyncio
import math
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from pm_realtime.backends.presence import (
    Arrival,
    Departure,
    Entry,
    Exit,
    Mark,
    PresentMember,
    Profile,
    Sweep,
)
from pm_realtime.backends.redis import scripts
from pm_realtime.backends.redis.client import Client, keys_of_presence
from pm_realtime.backends.redis.lease import IS_SETTLING, MAX_LOSSES, Leased, NodeTimings
from pm_realtime.backends.redis.presence_copy import PresenceCopy
from pm_realtime.backends.redis.publishing import to_ms
from pm_realtime.exceptions import BackendError

T = TypeVar("T")

#: Members that one script writes, counts out or looks at: Redis does nothing else meanwhile.
MEMBERS_PER_SCRIPT: Final = 100
#: Fields that one script only reads.
FIELDS_PER_SCRIPT: Final = 1000
#: For how long a member that has left is kept after its grace by a node that does not sweep.
LEFT_UNSWEPT_SECONDS: Final = 60.0


class _Found(msgspec.Struct):
    """A member as the scripts write it."""

    shown: int
    since: int
    text: str
    user: str | None = None
    state: str | None = None
    set: int = 0
    ends: int = 0


_decoder: Final = msgspec.json.Decoder(_Found)


class PresenceNode(Leased):
    """The members of the running event loop."""

    def __init__(self, client: Client, timings: NodeTimings) -> None:
        super().__init__(client, timings, keys_of_presence(uuid.uuid4().hex))
        self._copy = PresenceCopy()
        #: That of the Redis that this node knows; another one is a Redis that came back empty.
        self._epoch = ""
        self._empty_until: float | None = None
        #: The run of the server that this node knows. Another one, after a restart or a failover,
        #: may have lost what was written last.
        self._run = ""
        #: The loss that the next write makes good, as ``presence_restore.lua`` names it.
        self._loss = ""
        self._paused_until = 0.0
        #: Found by scripts, and not yet returned by a sweep.
        self._departures: list[Departure] = []
        self._arrivals: list[Arrival] = []
        self._rooms: dict[str, None] = {}
        self._ending: asyncio.Task[None] | None = None
        #: Marks from before (µs of Redis) are not trusted: Redis was away, and may have lost what
        #: was written last. Infinite until the first answer after an outage.
        self._trusted_from_us = 0.0

    async def enter(
        self,
        connection_id: str,
        room: str,
        profile: Profile,
        grace_seconds: float,
        former_ids: Collection[str],
    ) -> Entry:
        grace_ms = round(grace_seconds * 1000)

        def apply(answer: list[Any]) -> None:
            member, found = member_of(profile.key, answer[0]), _decoder.decode(answer[0])
            self._copy.enter(connection_id, room, grace_ms, member)
            # Perhaps by a connection of another node, which may not be there any more later.
            self._copy.set_state(room, profile.key, found.state, found.set, found.ends)

        about = (profile.key, profile.user_id or "", profile.text, int(profile.has_info), grace_ms)
        arguments = (connection_id, room, *about, *former_ids)
        self._adding += 1
        try:
            answer = await self._write(connection_id, apply, scripts.PRESENCE_ENTER, *arguments)
        finally:
            self._adding -= 1
            await self._end_if_empty()
        return Entry(member_of(profile.key, answer[0]), bool(answer[1]), bool(answer[2]))

    async def leave(self, connection_id: str, room: str, is_at_once: bool) -> Exit:
        if self._keeper is None:
            return Exit()
        apply = partial(self._copy.leave, connection_id, room, is_at_once=is_at_once)
        arguments = (room, int(is_at_once))
        answer = await self._write_out(connection_id, apply, scripts.PRESENCE_LEAVE, *arguments)
        if answer is None:
            return Exit()
        departure = departure_of(answer[1:]) if answer[1:] else None
        if departure is not None:
            self._copy.forget(room, departure.key)
            await self._end_if_empty()
        return Exit(bool(answer[0]), departure)

    async def set_profile(self, connection_id: str, room: str, profile: Profile) -> bool:
        if self._keeper is None:
            return False
        about = (profile.key, profile.user_id or "", profile.text)
        return bool(
            await self._write(
                connection_id,
                lambda _: self._copy.set_profile(room, profile),
                scripts.PRESENCE_SET_PROFILE,
                *(connection_id, room, *about),
            )
        )

    async def set_state(
        self, room: str, key: str, state: str | None, ttl_seconds: float | None
    ) -> bool | None:
        def apply(answer: Any) -> None:
            if answer:
                self._copy.set_state(room, key, state, answer[1], answer[2])

        ttl_ms = "" if ttl_seconds is None else to_ms(ttl_seconds)
        arguments = (room, key, "" if state is None else state, ttl_ms)
        if self._keeper is None:
            answer = await self.ask_settled(scripts.PRESENCE_SET_STATE, *arguments)
        else:
            answer = await self._write(key, apply, scripts.PRESENCE_SET_STATE, *arguments)
        return bool(answer[0]) if answer else None

    async def ask_settled(self, script: str, *arguments: Any) -> Any:
        """The answer of a script once all nodes have written into a Redis that came back empty."""
        losses, deadline = 0, time.monotonic() + 2 * self._timings.settling
        while losses < MAX_LOSSES:
            if self._keeper is not None:
                await self._until_written()
            generation = self._generation if self._keeper is not None else ""
            try:
                answer = await self.ask(script, generation, *arguments)
            except BackendError:
                self._trusted_from_us = math.inf
                raise
            if answer is None:
                losses += 1
                if generation == self._generation:
                    self._mark_down(None)
            elif answer != IS_SETTLING:
                return answer
            else:
                await self._wait_for_others(deadline)
        raise self._losing()

    async def ask_known(self, script: str, *arguments: Any) -> Any:
        """The same for an answer that begins with the epoch. If that is another one, nodes that
        have not noticed yet that Redis was emptied get the time to write."""
        while True:
            answer = await self.ask_settled(script, *arguments)
            if self._keeper is not None:
                return answer  # Its lease is of this epoch.
            now = time.monotonic()
            if (
                answer[0] == self._epoch
                or not self._epoch
                or now >= (self._empty_until or math.inf)
            ):
                self._epoch, self._empty_until = answer[0], None
                return answer
            if self._empty_until is None:
                self._empty_until = now + self._timings.settling
            await asyncio.sleep(self._timings.debounce)

    def trusts(self, mark: Mark) -> bool:
        return mark.read_at_us >= self._trusted_from_us

    def note_time(self, now_us: int) -> None:
        """Trust what is read from now on, which is a time of Redis in µs."""
        self._trusted_from_us = min(self._trusted_from_us, now_us)

    async def sweep(self) -> Sweep:
        is_more, wait_seconds = True, None
        while is_more:
            began = time.monotonic()
            is_more, wait_seconds = await asyncio.shield(self._sweep_some())
        # Some sweep has found all whose grace was over then: they must not depart once more if
        # Redis is emptied.
        self._copy.forget_left(time.monotonic() - began)
        await self._end_if_empty()
        found = Sweep(self._departures, list(self._rooms), wait_seconds, self._arrivals)
        self._departures, self._rooms, self._arrivals = [], {}, []
        return found

    async def forget(self) -> None:
        """Hold nothing, and know nothing of Redis."""
        await self.release()
        self._departures, self._rooms, self._arrivals = [], {}, []
        self._epoch, self._run, self._empty_until, self._trusted_from_us = "", "", None, 0.0

    async def _sweep_some(self) -> tuple[bool, float | None]:
        """Whether more is to be done now, and the time until something is due."""
        delay_ms, settling_ms = map(to_ms, (self._timings.burial_delay, self._timings.settling))
        arguments = (MEMBERS_PER_SCRIPT, delay_ms, settling_ms)
        answer = await self.ask_settled(scripts.PRESENCE_SWEEP, *arguments)
        is_more, wait_ms, departures, rooms, nodes, run = answer
        for departure in map(departure_of, departures):
            self._departures.append(departure)
            self._copy.forget(departure.room, departure.key)
        self._rooms |= dict.fromkeys(rooms)
        if self._note_run(run) and self.is_written:
            self._settle(is_pending=True)
            self._woken.set()
        for node in nodes:
            await self._take_some(scripts.PRESENCE_BURY, node)
        return bool(is_more or nodes), wait_ms / 1000 if wait_ms >= 0 else None

    def _note_run(self, run: str) -> bool:
        """Note the id of the server that has answered; whether another one had before."""
        is_other, self._run = self._run not in ("", run), run
        if is_other:
            self._trusted_from_us, self._loss = math.inf, self._loss or "last"
        return is_other

    async def _take_some(self, script: str, about: Any) -> None:
        """Call a script that counts connections of a node out until there are none."""
        position: str | None = "0"
        while position:
            position = await self._call(script, about, position, MEMBERS_PER_SCRIPT)

    def _is_empty(self) -> bool:
        return not self._copy

    def _clear(self) -> None:
        self._copy.clear()

    async def _replace(self, *, is_rewrite: bool) -> bool:
        if time.monotonic() < self._paused_until:
            return False
        about = (self._lease_ms, to_ms(self._timings.settling), self._epoch)
        begun = await self._call(scripts.PRESENCE_BEGIN, self._generation, *about)
        if begun is None:
            return False
        epoch, is_known, run = begun
        self._note_run(run)
        if epoch != self._epoch:
            self._loss = "empty" if self._epoch else ""
        elif not is_known and not self._loss and self._copy:
            # This process was frozen. First it notices which of its sockets have ended meanwhile.
            self._loss = "buried"
            self._paused_until = time.monotonic() + self._timings.settling
            return False
        self._epoch = epoch
        return await self._drop_stale() and await self._restore()

    async def _drop_stale(self) -> bool:
        """Count out of Redis those who are not here any more; False if the lease is gone."""
        position = None
        while position != "0":
            about = (position or "0", FIELDS_PER_SCRIPT)
            found = await self._call(scripts.PRESENCE_FIELDS, self._generation, *about)
            if found is None:
                return False
            position, fields = found
            stale = self._copy.find_stale(dict(zip(fields[::2], fields[1::2], strict=True)))
            for some in _in_parts(stale, 2 * MEMBERS_PER_SCRIPT):
                if await self._call(scripts.PRESENCE_DROP, self._generation, *some) is None:
                    return False
        return True

    async def _restore(self) -> bool:
        """Write all that Redis lacks; False if the lease is gone."""
        own = self._copy.for_redis(has_leaving=self._loss in ("empty", "last"))
        for each in _in_parts(own, MEMBERS_PER_SCRIPT):
            found = await self._call(scripts.PRESENCE_RESTORE, self._generation, self._loss, *each)
            if found is None:
                return False
            rooms, arrivals = found
            self._rooms |= dict.fromkeys(rooms)
            self._arrivals += (Arrival(room, key, user or None) for room, key, user in arrivals)
        self._loss = ""
        return True

    async def _renew(self) -> None:
        with suppress(BackendError):
            await self._call_own(scripts.PRESENCE_RENEW, self._lease_ms)
        self._copy.forget_left(LEFT_UNSWEPT_SECONDS)
        if self._is_empty():
            # In a task of its own, as it ends this one.
            self._ending = asyncio.get_running_loop().create_task(self._end_if_empty())

    async def _take_out(self, generation: int) -> None:
        await self._take_some(scripts.PRESENCE_RELEASE, generation)

    def _mark_down(self, error: BackendError | None) -> None:
        if error is not None:
            self._trusted_from_us = math.inf
        super()._mark_down(error)


def member_of(key: str, text: str) -> PresentMember:
    """The member that a script found."""
    found = _decoder.decode(text)
    profile = Profile(key=key, user_id=found.user, text=found.text)
    return PresentMember(
        profile=profile, since_ms=found.since, connections=found.shown, state=found.state
    )


def departure_of(found: list[Any]) -> Departure:
    room, key, user_id, seconds_ms = found
    return Departure(room, key, user_id or None, seconds_ms / 1000)


def _in_parts(items: list[T], size: int) -> Iterator[list[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
