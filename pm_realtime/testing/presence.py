"""Expectations of a test about the members of rooms."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.json import decode

from pm_realtime.protocol import MessageType
from pm_realtime.testing.expectations import RECEIVE_TIMEOUT_SECONDS, Expectations
from pm_realtime.testing.pictures import ClientPictures, SeenPresence


class PresenceExpectations(Expectations):
    """A connection that knows the members of its rooms, as far as the server has told it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pictures = ClientPictures()
        # The ids of its own questions, whose answers no test reads.
        self._questions: set[str] = set()

    def presence(self, room: str) -> SeenPresence:
        """The members of ``room`` as the connection has been told so far.

        All that has arrived counts, whether the test has read it or not. There is nobody in a room
        that has no presence, or that the connection is not in.
        """
        self._receive_arrived()
        return self._pictures.see(room)

    async def assert_presence(
        self,
        room: str,
        *,
        total: int | None = None,
        members: Iterable[Mapping[str, Any]] | None = None,
        users: Iterable[Any] | None = None,
        timeout: float = RECEIVE_TIMEOUT_SECONDS,
    ) -> SeenPresence:
        """The members of ``room``, as soon as they are as expected.

        ``total`` is their number. ``users`` are theirs, in any order; None among them stands for an
        anonymous connection. Of each of ``members`` the given fields count, as in
        ``{"userId": 7, "connections": 2}``.

        ``presence`` envelopes of the room are read; other envelopes are left to be read.
        """
        expected: dict[str, Any] = {
            "total": total,
            "members": None if members is None else list(members),
            "users": None if users is None else list(users),
        }
        kept: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(timeout):
                while not (seen := self._look(room, kept)).fits(**expected):
                    await self._ask_if_torn(room)
                    kept.append(await self.receive_output(timeout))
                return seen
        except TimeoutError:
            given = {name: value for name, value in expected.items() if value is not None}
            seen = self._pictures.see(room)
            text = f"Expected presence {given} in {room!r} within {timeout} s, got {seen}."
            if not self._pictures.has(room):
                text += " The connection is in no room of that name that has presence."
            raise AssertionError(text) from None
        finally:
            self._unread[:0] = kept

    def _look(self, room: str, kept: list[dict[str, Any]]) -> SeenPresence:
        """The members now. Envelopes that tell of them are read; all else is ``kept``."""
        self._receive_arrived()
        kept += self._unread
        self._unread.clear()
        for event in list(kept):
            envelope = self._read(event)
            if self._is_presence(envelope, room):
                kept.remove(event)
                self._note(envelope)
        return self._pictures.see(room)

    def _is_presence(self, envelope: Mapping[str, Any], room: str) -> bool:
        if (id := envelope.get("id")) is not None:
            return id in self._questions
        is_presence: bool = envelope["type"] == MessageType.PRESENCE
        return is_presence and envelope["payload"]["room"] == room

    async def _ask_if_torn(self, room: str) -> None:
        """Ask for the members, as every client does that has missed a change."""
        if room in self._pictures.torn:
            self._pictures.torn.discard(room)
            self._questions.add(await self.command(MessageType.PRESENCE, {"room": room}))

    def _note_arrived(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            if event["type"] == "websocket.send" and event.get("text"):
                self._pictures.note(decode(event["text"]))

    def _receive_arrived(self) -> None:
        """Take over all events that have arrived, so that they can be read later."""
        raise NotImplementedError

    async def command(self, type: str, payload: Any = None) -> str:
        """Send a command; returns its id."""
        raise NotImplementedError
