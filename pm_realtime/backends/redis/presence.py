"""The members of rooms in Redis, over all nodes.

The connections of each event loop are in a hash that outlives its lease. If its process dies,
others count them out, with grace. Members are in hashes of rooms; none is renewed.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import islice
from typing import Any, Final

from pm_realtime.backends.presence import (
    Entry,
    Exit,
    Mark,
    PresenceStore,
    Profile,
    Reading,
    Sweep,
)
from pm_realtime.backends.redis import scripts
from pm_realtime.backends.redis.client import key_prefix, pattern_of
from pm_realtime.backends.redis.presence_node import PresenceNode, member_of

#: Rooms that one script looks at.
ROOMS_PER_SCRIPT: Final = 500


class RedisPresence(PresenceStore):
    """``find_node`` returns the node of the running loop."""

    def __init__(self, find_node: Callable[[], Awaitable[PresenceNode]]) -> None:
        self._find_node = find_node

    async def enter(
        self,
        connection_id: str,
        room: str,
        profile: Profile,
        *,
        grace_seconds: float,
        former_ids: Collection[str] = (),
    ) -> Entry:
        node = await self._find_node()
        return await node.enter(connection_id, room, profile, grace_seconds, former_ids)

    async def leave(self, connection_id: str, room: str, *, is_at_once: bool) -> Exit:
        return await (await self._find_node()).leave(connection_id, room, is_at_once)

    async def set_profile(self, connection_id: str, room: str, profile: Profile) -> bool:
        return await (await self._find_node()).set_profile(connection_id, room, profile)

    async def set_state(
        self, room: str, key: str, state: str | None, ttl_seconds: float | None
    ) -> bool | None:
        return await (await self._find_node()).set_state(room, key, state, ttl_seconds)

    async def read(self, room: str, since: Mark | None, limit: int) -> Reading:
        node = await self._find_node()
        known = since if since is not None and node.trusts(since) else None
        answer = await node.ask_known(scripts.PRESENCE_READ, room, *(known or ("", "")), limit)
        if known is not None and not node.trusts(known):
            answer = await node.ask_known(scripts.PRESENCE_READ, room, "", "", limit)
        _, rev, now_us, total, is_whole, members, left = answer
        node.note_time(now_us)
        mark = Mark(rev, now_us)
        if members is None:
            return Reading(mark, total, True, None)
        pairs = zip(members[::2], members[1::2], strict=True)
        found = [member_of(*pair) for pair in pairs]
        return Reading(mark, total, bool(is_whole), found, tuple(left))

    async def check(self, marks: Mapping[str, Mark]) -> dict[str, Mark]:
        node = await self._find_node()
        unchanged: dict[str, Mark] = {}
        remaining = iter(marks.items())
        while some := dict(islice(remaining, ROOMS_PER_SCRIPT)):
            known: list[Any] = [part for room in some for part in (room, some[room].rev)]
            trusted = {room for room, mark in some.items() if node.trusts(mark)}
            _, now_us, *answers = await node.ask_known(scripts.PRESENCE_CHECK, *known)
            node.note_time(now_us)
            for (room, mark), is_same in zip(some.items(), answers, strict=True):
                if is_same and room in trusted:
                    unchanged[room] = Mark(mark.rev, now_us)
        return unchanged

    async def find_keys(self, room: str, user_id: str) -> list[str]:
        node = await self._find_node()
        found: list[str] = await node.ask_settled(scripts.PRESENCE_FIND_KEYS, room, user_id)
        return found

    async def find_key(self, room: str, connection_id: str) -> str | None:
        node = await self._find_node()
        return await node.ask_settled(scripts.PRESENCE_FIND_KEY, room, connection_id) or None

    async def sweep(self) -> Sweep:
        return await (await self._find_node()).sweep()

    async def forget_all(self) -> None:
        node = await self._find_node()
        await node.forget()
        pattern, position = pattern_of(f"{key_prefix()}presence:"), "0"
        while True:
            position, _ = await node.ask(scripts.FORGET, position, pattern)
            if position == "0":
                return
