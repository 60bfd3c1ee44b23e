"""Expectations of a test: the envelopes that arrive on a connection."""

import asyncio
import time
from typing import Any, Final

from channels.testing import WebsocketCommunicator
from msgspec.json import decode

from pm_realtime.protocol import MessageType
from pm_realtime.testing.positions import ClientPositions

ANYTHING: Final = object()
#: The wait of a test for an expected event. Only a failing test waits so long.
RECEIVE_TIMEOUT_SECONDS: Final = 5.0


class Expectations(WebsocketCommunicator):
    """A connection whose envelopes are read in order, and compared with what a test expects."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unread: list[dict[str, Any]] = []
        #: Every envelope that was read, in order, with those that the ``assert_…`` methods skipped.
        self.received: list[dict[str, Any]] = []
        self._positions = ClientPositions()

    async def receive(self, timeout: float = RECEIVE_TIMEOUT_SECONDS) -> dict[str, Any]:
        """The next envelope; fails after ``timeout`` seconds, or if the server closes."""
        envelope = self._read(await self.receive_output(timeout))
        self._note(envelope)
        return envelope

    def _read(self, event: dict[str, Any]) -> dict[str, Any]:
        if event["type"] == "websocket.close":
            raise AssertionError(f"Expected an envelope, got a close with {event.get('code')}.")
        envelope: dict[str, Any] = decode(event["text"])
        return envelope

    def _note(self, envelope: dict[str, Any]) -> None:
        self.received.append(envelope)
        self._positions.note(envelope)

    async def _reply_to(self, id: str, timeout: float) -> dict[str, Any]:
        """The envelope that answers the command ``id``. Those before it are left to be read."""
        kept: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(timeout):
                while True:
                    event = await self.receive_output(timeout)
                    envelope = self._read(event)
                    if envelope.get("id") == id:
                        self._note(envelope)
                        return envelope
                    kept.append(event)
        except TimeoutError:
            text = f"Expected a reply to {id} within {timeout} s, got {kept or 'nothing'}."
            raise AssertionError(text) from None
        finally:
            self._unread[:0] = kept

    async def assert_reply(
        self,
        id: str,
        type: str,
        payload: Any = ANYTHING,
        *,
        timeout: float = RECEIVE_TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """The envelope that answers the command ``id``, of ``type`` and with ``payload``."""
        reply = await self._find(
            lambda envelope: envelope.get("id") == id, f"a reply to {id}", timeout
        )
        if reply["type"] != type:
            raise AssertionError(f"Expected {type!r} in reply to {id}, got {reply}.")
        return _check_payload(reply, payload)

    async def assert_error(
        self, id: str, code: str, *, timeout: float = RECEIVE_TIMEOUT_SECONDS
    ) -> dict[str, Any]:
        """The ``error`` that answers the command ``id`` with ``code``."""
        reply = await self.assert_reply(id, MessageType.ERROR, timeout=timeout)
        if reply["payload"]["code"] != code:
            raise AssertionError(f"Expected {code} in reply to {id}, got {reply}.")
        return reply

    async def assert_push(
        self, type: str, payload: Any = ANYTHING, *, timeout: float = RECEIVE_TIMEOUT_SECONDS
    ) -> dict[str, Any]:
        """The next envelope of ``type``, with ``payload``."""
        found = await self._find(lambda envelope: envelope["type"] == type, f"a {type!r}", timeout)
        return _check_payload(found, payload)

    async def assert_closed(self, code: int, *, timeout: float = RECEIVE_TIMEOUT_SECONDS) -> None:
        """The server closes with ``code``; envelopes before the close are skipped."""
        async with asyncio.timeout(timeout):
            while (event := await self.receive_output(timeout))["type"] != "websocket.close":
                pass
        if event.get("code") != code:
            raise AssertionError(f"Expected a close with {code}, got {event}.")

    async def assert_nothing(self, timeout: float = 0.1) -> None:
        """No frame arrives within ``timeout`` seconds."""
        if not await self.receive_nothing(timeout):
            raise AssertionError(f"Expected nothing, got {await self.receive()}.")

    async def _find(self, matches: Any, expected: str, timeout: float) -> dict[str, Any]:
        skipped: list[dict[str, Any]] = []
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                envelope = await self.receive(left)
            except TimeoutError:
                break
            if matches(envelope):
                return envelope
            skipped.append(envelope)
        raise AssertionError(f"Expected {expected} within {timeout} s, got {skipped or 'nothing'}.")


def _check_payload(envelope: dict[str, Any], payload: Any) -> dict[str, Any]:
    if payload is not ANYTHING and envelope.get("payload") != payload:
        raise AssertionError(f"Expected the payload {payload!r}, got {envelope}.")
    return envelope
