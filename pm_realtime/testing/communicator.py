"""A connection to the site without a network."""

import itertools
import time
from contextlib import suppress
from copy import deepcopy
from typing import Any, Final, Self, cast
from uuid import uuid4

from asgiref.testing import ApplicationCommunicator
from msgspec import Raw
from msgspec.json import decode

from pm_realtime.backends import get_presence_store, get_results, get_streams
from pm_realtime.concurrency import is_loop_of_a_caller
from pm_realtime.conf import conf
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.layer import expect_sockets
from pm_realtime.protocol import BATCH_SUBPROTOCOL, MessageType
from pm_realtime.push import deliver_committed
from pm_realtime.testing.calls import CommandFailed, as_json
from pm_realtime.testing.expectations import ANYTHING, RECEIVE_TIMEOUT_SECONDS
from pm_realtime.testing.presence import PresenceExpectations
from pm_realtime.testing.sessions import session_cookie

#: The close code that servers give for a connection that broke without a close.
ABNORMAL_CLOSURE: Final = 1006
PATIENCE: Final = RECEIVE_TIMEOUT_SECONDS  #: Its name in version 0.1.


class RealtimeCommunicator(PresenceExpectations):
    """A connection to the site without a network, as an async context manager.

    ``user`` is logged in through a real Django session; None connects anonymously. Frames are read
    in the order of their arrival. The ``assert_…`` methods skip frames that do not match; all that
    was read is in ``received``. If ``subprotocols`` contain the one for batches, the envelopes of a
    batch are read one by one.

    After :meth:`drop`, :meth:`recover` comes back as the same client.

    In rooms with presence it departs at once at the end of its block. After :meth:`drop` it is
    there until the grace of the room is over.
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
        self._subprotocols = subprotocols
        self._may_be_batched = BATCH_SUBPROTOCOL in (subprotocols or ())
        # Ids are remembered, so no other connection may have the same.
        self._id_prefix = f"test-{uuid4().hex[:12]}"
        self._ids = itertools.count(1)
        #: Whether nothing is missing after :meth:`recover`, of its own streams and of its rooms.
        #: None if there was nothing to recover.
        self.recovered: bool | None = None
        self._cookie: bytes | None = None
        self._given_headers = list(headers or ())
        self._is_dropped = False

    async def __aenter__(self) -> Self:
        if self.user is not None and self._cookie is None:
            self._cookie = await session_cookie(self.user)
        if self._cookie is not None:
            cookie = (b"cookie", self._cookie)
            self.scope["headers"] = [*(self.scope["headers"] or ()), cookie]
        rooms = dict(self._positions.rooms)
        if query := self._positions.query():
            self.scope["query_string"] = query
        accepted, code = await self.connect(RECEIVE_TIMEOUT_SECONDS)
        if not accepted:
            raise AssertionError(f"Expected the handshake to be accepted, got a close ({code}).")
        first = await self.receive()
        if first["type"] != MessageType.CONNECTED:
            raise AssertionError(f"Expected a `connected` frame first, got {first}.")
        self.connected = first["payload"]
        self.recovered = self.connected.get("recovered")
        if rooms:
            await self._join_again(rooms)
        return self

    async def __aexit__(self, *error: object) -> None:
        if not self._is_dropped:
            await self._depart()
            await self.disconnect(timeout=RECEIVE_TIMEOUT_SECONDS)

    async def _depart(self) -> None:
        """Leave the rooms in which it is a member, so that it is gone for the next test."""
        with suppress(AssertionError):  # The server has closed the connection.
            for room in self._pictures.own_rooms():
                if not self.future.done():
                    id = await self.command(MessageType.UNSUBSCRIBE, {"room": room})
                    await self._reply_to(id, RECEIVE_TIMEOUT_SECONDS)

    async def drop(self) -> None:
        """Break the connection as a cut wire does: without a close, which a client would not want.

        All that the test has not read is lost with it.
        """
        self._is_dropped = True
        await self.disconnect(ABNORMAL_CLOSURE, timeout=RECEIVE_TIMEOUT_SECONDS)
        self._unread.clear()
        while not self.output_queue.empty():
            self.output_queue.get_nowait()

    async def disconnect(self, code: int = 1000, timeout: float = 1) -> None:
        """Close the socket. An expected event that did not arrive has ended the application."""
        if not self.future.cancelled():
            await super().disconnect(code, timeout)

    def recover(self, *, user: Any = ANYTHING, application: Any = None) -> Self:
        """The next connection of this client, as an async context manager.

        It has the same session, and the positions up to which this one has been read. It joins the
        same rooms again, and gets what was pushed meanwhile. ``user`` is another one who logs in in
        this browser, None for nobody; ``application`` is another one, by default the same.

        Without :meth:`drop` it comes back before the server has noticed that the wire is cut.
        """
        again = type(self)(
            user=self.user if user is ANYTHING else user,
            application=application or self.application,
            headers=self._given_headers or None,
            subprotocols=self._subprotocols,
        )
        again._positions = deepcopy(self._positions)
        again._cookie = self._cookie if user is ANYTHING else None
        return again

    async def _join_again(self, rooms: dict[str, str | None]) -> None:
        """Subscribe to ``rooms`` from their positions. Envelopes before the replies are kept."""
        ids: list[str] = []
        kept: list[dict[str, Any]] = []
        for room, cursor in rooms.items():
            since = {} if cursor is None else {"since": cursor}
            ids.append(await self.command(MessageType.SUBSCRIBE, {"room": room, **since}))
        while ids:
            event = await self.receive_output(RECEIVE_TIMEOUT_SECONDS)
            envelope = self._read(event)
            if envelope.get("id") not in ids:
                kept.append(event)
                continue
            self._note(envelope)
            ids.remove(envelope["id"])
            is_whole = (envelope.get("payload") or {}).get("recovered")
            if envelope["type"] != MessageType.SUBSCRIBED:
                self._positions.rooms.pop(envelope["payload"].get("room"), None)
            elif is_whole is not None:
                self.recovered = is_whole and self.recovered is not False
        self._unread[:0] = kept

    @staticmethod
    async def forget_history() -> None:
        """Have all streams forget everything, as those of a restarted process or an emptied Redis.

        A client that comes back then has missed something (``gap``). On Redis, do this only on one
        for tests. It needs no connection: ``RealtimeCommunicator.forget_history()`` before a test
        takes away what earlier tests of the process have left, also idempotency keys and the
        results of commands.
        """
        deliver_committed()
        await get_streams().forget_all()
        await get_results().forget_all()

    @staticmethod
    async def forget_presence() -> None:
        """Have all rooms forget their members, before a test that is to find nobody.

        An earlier test may have left connections that broke, whose grace is not over.
        """
        await get_presence_store().forget_all()

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
            self._arrive(event)
        return self._unread.pop(0)

    def _arrive(self, event: dict[str, Any]) -> None:
        events = self._split(event)
        self._unread += events
        self._note_arrived(events)

    def _receive_arrived(self) -> None:
        while not self.output_queue.empty():
            self._arrive(self.output_queue.get_nowait())

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

    async def command(
        self, type: str, payload: Any = None, *, room: str | None = None, id: str | None = None
    ) -> str:
        """Send a command. Returns its id, by default a new one, which the reply also has."""
        id = id or f"{self._id_prefix}-{next(self._ids)}"
        self._positions.note_command(type, id)
        envelope = {"type": type, "timestamp": time.time_ns() // 1_000_000, "id": id}
        if room is not None:
            envelope["room"] = room
        if payload is not None:
            envelope["payload"] = payload
        await self.send_json_to(envelope)
        return id

    async def call(
        self,
        type: str,
        payload: Any = None,
        *,
        room: str | None = None,
        id: str | None = None,
        timeout: float = RECEIVE_TIMEOUT_SECONDS,
    ) -> Any:
        """Call a command of the site. Returns the payload of its result, as JSON has it.

        ``payload`` takes the values that pushes take. A call with the ``id`` of an earlier one
        repeats it. Envelopes that arrive before the answer are left to be read. Raises
        :exc:`~pm_realtime.testing.CommandFailed` if the answer is an error.
        """
        id = await self.command(type, as_json(type, payload), room=room, id=id)
        reply = await self._reply_to(id, timeout)
        if reply["type"] == MessageType.ERROR:
            raise CommandFailed(type, reply["payload"])
        if reply["type"] != MessageType.RESULT:
            raise AssertionError(f"Expected a 'result' in reply to {type!r}, got {reply}.")
        return reply.get("payload")

    async def subscribe(
        self, room: str, since: str | None = None, last: int | None = None
    ) -> dict[str, Any]:
        """Join ``room``; fails if the server refuses.

        ``since`` is the cursor after which messages are to follow. ``last`` is the number of
        earlier messages that are wanted; with both, it counts if ``since`` is not whole. Returns
        the reply, whose payload has the ``cursor`` of the room and, with ``since``, ``recovered``.
        """
        wanted = {"since": since, "last": last}
        more = {name: value for name, value in wanted.items() if value is not None}
        id = await self.command(MessageType.SUBSCRIBE, {"room": room, **more})
        return await self.assert_reply(id, MessageType.SUBSCRIBED)
