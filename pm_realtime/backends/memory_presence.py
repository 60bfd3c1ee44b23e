"""The members of rooms in the memory of one process."""

from collections.abc import Collection, Mapping

from pm_realtime.backends.presence import (
    Entry,
    Exit,
    Mark,
    Picture,
    PresenceStore,
    Profile,
    Sweep,
)


class MemoryPresence(PresenceStore):
    """Dicts under a lock. No method ever awaits anything."""

    async def enter(
        self,
        connection_id: str,
        room: str,
        profile: Profile,
        *,
        grace_seconds: float,
        former_ids: Collection[str] = (),
    ) -> Entry:
        raise NotImplementedError

    async def leave(self, connection_id: str, room: str, *, is_at_once: bool) -> Exit:
        raise NotImplementedError

    async def set_profile(self, connection_id: str, room: str, profile: Profile) -> bool:
        raise NotImplementedError

    async def set_state(
        self, room: str, key: str, state: str | None, ttl_seconds: float | None
    ) -> bool | None:
        raise NotImplementedError

    async def read(self, room: str, since: Mark | None, limit: int) -> Picture:
        raise NotImplementedError

    async def check(self, marks: Mapping[str, Mark]) -> dict[str, Mark]:
        raise NotImplementedError

    async def find_keys(self, room: str, user_id: str) -> list[str]:
        raise NotImplementedError

    async def find_key(self, room: str, connection_id: str) -> str | None:
        raise NotImplementedError

    async def sweep(self) -> Sweep:
        raise NotImplementedError

    async def forget_all(self) -> None:
        raise NotImplementedError
