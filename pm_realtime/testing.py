"""Tools for the tests of a site: a connection of a logged-in user, and a record of pushes.

::

    @pytest.mark.django_db(transaction=True)
    async def test_ticket(ticket, user):
        async with RealtimeCommunicator(user=user) as connection:
            await connection.subscribe(f"ticket:{ticket.pk}")
            await aclose_ticket(ticket)
            await connection.assert_push("closed", payload={"pk": ticket.pk})

    def test_view(client, user):
        with capture_pushes() as pushes:
            client.post("/tickets/1/close/")
        assert pushes.to_user(user)[0].type == "closed"
"""

import asyncio
import itertools
import time
from collections import UserList
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, Self, cast

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.layers import BaseChannelLayer, channel_layers
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest
from msgspec import Raw
from msgspec.json import decode

from pm_realtime.concurrency import is_loop_of_a_caller
from pm_realtime.conf import conf
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.layer import (
    authenticated_group,
    expect_sockets,
    group_of_push,
    role_group,
    room_group,
    user_group,
)
from pm_realtime.protocol import BATCH_SUBPROTOCOL, Envelope, MessageType
from pm_realtime.push import deliver_committed, user_key

ANYTHING: Final = object()
#: The wait of a test for an expected event. Only a failing test waits so long.
RECEIVE_TIMEOUT_SECONDS: Final = 5.0
PATIENCE: Final = RECEIVE_TIMEOUT_SECONDS  #: Its name in version 0.1.


class RealtimeCommunicator(WebsocketCommunicator):
    """A connection to the site without a network, as an async context manager.

    ``user`` is logged in through a real Django session; None connects anonymously. Frames are read
    in the order of their arrival. The ``assert_…`` methods skip frames that do not match. If
    ``subprotocols`` contain the one for batches, the envelopes of a batch are read one by one.
    """

    def __init__(
        self,
        *,
        user: Any = None,
        application: Any = None,
        headers: list[tuple[bytes, bytes]] | None = None,
        subprotocols: list[str] | None = None,
    ) -> None:
        super().__init__(
            application or RealtimeConsumer.as_asgi(),
            f"/{conf.PATH.strip('/')}",
            headers=headers,
            subprotocols=subprotocols,
        )
        expect_sockets()
        self.user = user
        self.connected: dict[str, Any] = {}
        self._may_be_batched = BATCH_SUBPROTOCOL in (subprotocols or ())
        self._unread: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        if self.user is not None:
            cookie = (b"cookie", await session_cookie(self.user))
            self.scope["headers"] = [*(self.scope["headers"] or ()), cookie]
        accepted, code = await self.connect(RECEIVE_TIMEOUT_SECONDS)
        if not accepted:
            raise AssertionError(f"Expected the handshake to be accepted, got a close ({code}).")
        first = await self.receive()
        if first["type"] != MessageType.CONNECTED:
            raise AssertionError(f"Expected a `connected` frame first, got {first}.")
        self.connected = first["payload"]
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.disconnect(timeout=RECEIVE_TIMEOUT_SECONDS)

    async def send_input(self, message: Any) -> None:
        """Pass an ASGI event to the application.

        Channels keeps threads from closing their database connections while it waits, because all
        threads of a ``TestCase`` share one. Other tests do without: the application has its own
        threads, and after two waits at once Channels would not restore the closing.
        """
        if is_loop_of_a_caller():
            await super().send_input(message)
        else:
            await cast("Any", ApplicationCommunicator).send_input(self, message)

    async def receive_output(self, timeout: float = 1) -> dict[str, Any]:
        """The next ASGI event of the application. See also :meth:`send_input`."""
        if not self._unread:
            deliver_committed()
            if is_loop_of_a_caller():
                event = await super().receive_output(timeout)
            else:
                event = await cast("Any", ApplicationCommunicator).receive_output(self, timeout)
            self._unread = self._split(event)
        return self._unread.pop(0)

    async def receive_nothing(self, timeout: float = 0.1, interval: float = 0.01) -> bool:
        """Whether no event arrives within ``timeout`` seconds."""
        deliver_committed()
        return not self._unread and await super().receive_nothing(timeout, interval)

    def _split(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        text = event.get("text") or ""
        if not (self._may_be_batched and text.startswith("[")):
            return [event]
        return [{**event, "text": bytes(each).decode()} for each in decode(text, type=list[Raw])]

    @property
    def connection_id(self) -> str:
        """The ``connectionId`` of the first frame."""
        return str(self.connected["connectionId"])

    async def receive(self, timeout: float = RECEIVE_TIMEOUT_SECONDS) -> dict[str, Any]:
        """The next envelope; fails after ``timeout`` seconds, or if the server closes."""
        event = await self.receive_output(timeout)
        if event["type"] == "websocket.close":
            raise AssertionError(f"Expected an envelope, got a close with {event.get('code')}.")
        envelope: dict[str, Any] = decode(event["text"])
        return envelope

    async def command(self, type: str, payload: Any = None, *, id: str | None = None) -> str:
        """Send a command. Returns its id, by default a new one, which the reply also has."""
        id = id or f"test-{next(self._ids)}"
        envelope = {"type": type, "timestamp": time.time_ns() // 1_000_000, "id": id}
        if payload is not None:
            envelope["payload"] = payload
        await self.send_json_to(envelope)
        return id

    async def subscribe(self, room: str) -> dict[str, Any]:
        """Join ``room``; fails if the server refuses."""
        id = await self.command(MessageType.SUBSCRIBE, {"room": room})
        return await self.assert_reply(id, MessageType.SUBSCRIBED)

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


async def session_cookie(user: Any) -> bytes:
    """The value of the ``Cookie`` header of a browser in which ``user`` has just logged in."""
    key = await sync_to_async(_log_in)(user)
    return f"{settings.SESSION_COOKIE_NAME}={key}".encode()


def _log_in(user: Any) -> str:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore()
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session.save()
    return str(request.session.session_key)


class Pushes(UserList[Envelope], list[Envelope]):  # type: ignore[misc]
    """The pushed envelopes in order, and the ones for one target."""

    def __init__(self, envelopes: Iterable[Envelope] = ()) -> None:
        self._envelopes = list(envelopes)
        self._recorded: list[tuple[str, Envelope]] = []

    @property
    def data(self) -> list[Envelope]:  # type: ignore[override]
        """The envelopes so far, with those of the blocks that a ``TestCase`` has left."""
        deliver_committed()
        return self._envelopes

    def to_user(self, user: Any) -> list[Envelope]:
        return self._to(user_group(user_key(user)))

    def to_room(self, room: str) -> list[Envelope]:
        return self._to(room_group(room))

    def to_role(self, role: str) -> list[Envelope]:
        return self._to(role_group(role))

    def to_all(self) -> list[Envelope]:
        """The envelopes of ``broadcast``."""
        return self._to(authenticated_group())

    def record(self, group: str, text: str) -> None:
        envelope = decode(text, type=Envelope)
        self._envelopes.append(envelope)
        self._recorded.append((group, envelope))

    def _to(self, group: str) -> list[Envelope]:
        kept = set(map(id, self.data))  # A test may have cleared some.
        return [each for to, each in self._recorded if to == group and id(each) in kept]

    def __copy__(self) -> Self:
        return self.copy()

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        # A TestCase makes deep copies of what `setUpTestData` keeps.
        return Pushes, (), self.__dict__


class _RecordingLayer(BaseChannelLayer):
    """A channel layer that records pushes and delivers nothing."""

    def __init__(self, pushes: Pushes) -> None:
        super().__init__()
        self.pushes = pushes

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if group_of_push(message) is not None:
            self.pushes.record(group, message["text"])


@contextmanager
def capture_pushes() -> Iterator[Pushes]:
    """Record the pushes of the block instead of sending them.

    A push in ``transaction.atomic()`` is recorded once the block has ended, and not at all after a
    rollback. In a ``TestCase``, and with the ``db`` fixture of pytest-django, the transaction of
    the test itself does not count.
    """
    deliver_committed()
    pushes = Pushes()
    alias = conf.CHANNEL_LAYER
    replaced = channel_layers.set(alias, _RecordingLayer(pushes))
    try:
        yield pushes
        len(pushes)  # Those that still wait would go to the real layer.
    finally:
        if replaced is None:
            channel_layers.backends.pop(alias, None)
        else:
            channel_layers.set(alias, replaced)
