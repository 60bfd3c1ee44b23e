"""The consumer: one WebSocket, its frames in and out, and its life from handshake to close."""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from functools import update_wrapper
from typing import Any, cast

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.dispatch import Signal

from pm_realtime import signals
from pm_realtime.auth import anonymous
from pm_realtime.connection import control
from pm_realtime.connection.batching import choose_subprotocol, make_outbox
from pm_realtime.connection.drain import get_drain
from pm_realtime.connection.gate import Gate
from pm_realtime.connection.handshake import Handshake, refusal_of
from pm_realtime.connection.inbox import Inbox
from pm_realtime.connection.pacing import is_drained, waiting_bytes
from pm_realtime.connection.rates import Rates
from pm_realtime.connection.revocation import Revocation
from pm_realtime.connection.senders import punish
from pm_realtime.connection.socket_guard import SocketGuard
from pm_realtime.connection.sockets import find_socket
from pm_realtime.connection.state import State, is_for_good
from pm_realtime.connection.tasks import ConnectionTasks
from pm_realtime.connection.timings import ConnectionTimings
from pm_realtime.connection.volatile import VolatileMessages
from pm_realtime.exceptions import CommandError
from pm_realtime.hub import Sender, Start, get_hub
from pm_realtime.layer import ControlMessage
from pm_realtime.observability import log_event
from pm_realtime.protocol import (
    CloseCode,
    Command,
    MessageType,
    encode,
    error_payload,
    make_envelope,
)
from pm_realtime.rooms import OwnState, end_presence, run_site_code

logger = logging.getLogger("pm_realtime.connection")


class RealtimeConsumer(AsyncJsonWebsocketConsumer):
    """The server's side of one connection.

    It has no channel of its own: pushes reach it through the hub of its event loop, which calls
    :meth:`deliver`. Nothing that a client sends raises out of it. The protocols for which it stands
    describe the methods that have no docstring here.
    """

    channel_layer_alias = None  # type: ignore[assignment]
    connection_timings: ConnectionTimings = ConnectionTimings()

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Any:
        """The ASGI application, behind the gate that keeps floods of handshakes out."""
        application = super().as_asgi(**initkwargs)
        return update_wrapper(Gate(application), application)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection until it ends, and clean up in any case."""
        self._prepare(scope, receive, send)
        with get_drain().including(self):
            await self._serve(receive)

    def _prepare(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.base_send: Any = send
        self.connection_id = self.client_id = uuid.uuid4().hex
        self.identity = anonymous()
        #: The client's earlier connections, as it says: it does not get what they were not to get.
        self.former_ids: frozenset[str] = frozenset()
        self.last_id: str | None = None
        self.rooms: dict[str, bool] = {}
        self.room_lock = asyncio.Lock()
        self.own_states: dict[str, OwnState] = {}
        self.connection_state: State = State.HANDSHAKE
        self._subprotocol = choose_subprotocol(scope.get("subprotocols") or ())
        self._outbox = make_outbox(self._subprotocol, send, on_overflow=self._close_slow)
        found = find_socket(send, receive)
        self._guard = SocketGuard(found, self.connection_timings, self._end_frame_flood)
        self._rates = Rates(self)
        #: None until there is a volatile message.
        self._volatile: VolatileMessages | None = None
        self._inbox = Inbox(self, self._outbox, self._rates)
        self._revocation = Revocation(self)
        self._handshake = Handshake(self, self._revocation)
        self._tasks = ConnectionTasks(cast("asyncio.Task[Any]", asyncio.current_task()))
        self._close_code = 1006
        self._was_open = False
        #: Monotonic seconds. A client is not silent while a frame of it is handled.
        self._began_at, self._silent_since = time.monotonic(), math.inf

    async def _serve(self, receive: Any) -> None:
        is_stopped = False
        try:
            while not self._outbox.is_closed:
                await self.dispatch(await receive())
                # Neither of the two waits while frames are queued: let other tasks run.
                await asyncio.sleep(0)
        except StopConsumer:
            pass
        except asyncio.CancelledError:
            is_stopped = self._tasks.is_cancelled_by_server()
            self._end_with_process()
        finally:
            self.connection_state = State.CLOSED
            is_stopped |= await self._tasks.finish(self._clean_up())
            is_hurried = is_stopped or self._tasks.is_abandoned
            await self._outbox.drain(0 if is_hurried else self.connection_timings.flush_seconds)
            self._guard.end()
        if is_stopped:
            raise asyncio.CancelledError

    async def dispatch(self, message: Any) -> None:
        """Hand an ASGI event to its method.

        Channels' own version first has the one database thread of the process close connections,
        so each frame would wait for the slowest query. Here the code that uses the database does.
        """
        await getattr(self, message["type"].replace(".", "_"))(message)

    async def websocket_connect(self, message: Any) -> None:
        try:
            self._guard.begin()
            await self.connect()
        except StopConsumer:
            raise
        except Exception as error:
            await self._refuse(error)

    async def websocket_disconnect(self, message: Any) -> None:
        await self._inbox.lanes.finish_messages()
        code = message.get("code") or 1005
        if not self._outbox.is_closed:
            self._close_code = code
        raise StopConsumer

    async def connect(self) -> None:
        """The handshake. Pushes that reach the connection wait until it has sent ``connected``."""
        if await self._handshake.run():
            self.connection_state, self._was_open = State.OPEN, True
            self._silent_since = time.monotonic()
            await self.notify(signals.connected)

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Handle one frame of the client: decode it, carry out its command, answer."""
        self._silent_since = math.inf
        try:
            await self._inbox.receive(text_data if text_data is not None else bytes_data)
        finally:
            self._silent_since = time.monotonic()

    def reply(self, type: str, payload: Any = None, *, to: Command | None = None) -> None:
        """Send an envelope that carries the id of the command it answers. Never waits."""
        self.send_reply(type, payload, to.id if to is not None else None)

    def send_reply(self, type: str, payload: Any, id: str | None) -> None:
        self.deliver(encode(make_envelope(type, payload, id=id)))
        # A reply ends its frame: a page that waits for it can act before the next message comes.
        self._outbox.flush()

    def send_connected(self, payload: dict[str, Any]) -> None:
        self._outbox.release(encode(make_envelope(MessageType.CONNECTED, payload)))

    def deliver(self, text: str) -> None:
        """Send a frame. Never waits."""
        self._outbox.deliver(text)

    def deliver_all(self, texts: tuple[str, ...]) -> None:
        """Send several texts, each in a frame. Never waits."""
        if type(self).deliver is RealtimeConsumer.deliver:
            self._outbox.deliver_all(texts)
        else:
            for text in texts:
                self.deliver(text)

    def deliver_volatile(self, texts: tuple[str, ...], senders: Sequence[Sender]) -> None:
        if self._volatile is None:
            self._volatile = VolatileMessages(self, self._outbox, self._guard.socket)
        self._volatile.deliver(texts, senders)

    def has_room(self) -> bool:
        return self._outbox.is_held or waiting_bytes(self._outbox, self._guard.socket) == 0

    async def until_drained(self) -> None:
        await self.until_certain()
        seconds = self.connection_timings.unread_seconds
        if not await is_drained(self._outbox, self._guard.socket, seconds):
            self._close_slow()

    def end(self, code: int, reason: str = "") -> None:
        """Close with ``code`` after the frames that wait. Callable from any task of the loop."""
        # This may find the client too slow, and then ends the connection with another code.
        self._outbox.flush()
        if self.connection_state < State.CLOSING:
            self.connection_state = State.CLOSING
            self._guard.begin_end()
            if not self._outbox.is_closed:
                self._close_code = int(code)
                self._outbox.close(code, reason)
            # Also after the client has gone: its last commands may wait for what never comes.
            self._tasks.interrupt()

    def go_away(self, command_seconds: float, site_seconds: float) -> None:
        """Close with 4012, as the process stops, once running commands are done."""
        # A handshake finds out itself, and refuses with a code that a browser sees.
        if self.connection_state is State.OPEN:
            self.begin(self._go_away(command_seconds, site_seconds))

    async def _go_away(self, command_seconds: float, site_seconds: float) -> None:
        await self._inbox.lanes.finish(command_seconds, site_seconds)
        self._end_with_process()

    def abort(self) -> None:
        """End without the rest of the work: the process ends."""
        self._tasks.abandon()

    def _end_with_process(self) -> None:
        self.end(CloseCode.RESTARTING, "the server stops")

    def _close_slow(self) -> None:
        self._outbox.discard()
        self.end(CloseCode.TOO_SLOW, "too slow to read")

    def end_flood(self, reason: str) -> None:
        """Close with 4003, and read nothing more."""
        self.end(CloseCode.RATE_LIMITED, reason)
        self._guard.end_flood()
        punish(self)

    def _end_frame_flood(self) -> None:
        self.begin(self._end_in_task("a flood of frames"))

    async def _end_in_task(self, reason: str) -> None:
        # Outside of a task, the first step of a server's `send` may fail.
        self.end_flood(reason)

    def check_heartbeat(self, deadline: float) -> None:
        """Close with 4001 if a client that sends pings is silent since before ``deadline``, and
        with 4002 if one reads nothing of too much that the server keeps for it."""
        self._guard.check()
        if self._guard.socket.is_closing and self._inbox.lanes.is_full:
            # The event of its end comes after frames that are not read before commands have ended.
            self.end(1006, "the client has gone")
        if self._guard.is_stuck():
            self._close_slow()
            self._guard.socket.abort()  # The client would not read the close frame either.
        if self._inbox.has_pinged and not self._inbox.lanes and self._silent_since < deadline:
            self.end(CloseCode.HEARTBEAT_LOST, "no heartbeat")

    def receive_control(self, message: ControlMessage) -> None:
        if self.connection_state < State.CLOSED:
            control.carry_out(self, self._revocation, message)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        if self.connection_state < State.CLOSED:
            self._tasks.begin(work)
        else:
            work.close()

    @property
    def control_position(self) -> str:
        return get_hub().control.position

    @property
    def rights_version(self) -> int:
        return self._revocation.version

    @property
    def is_certain(self) -> bool:
        return self._revocation.is_certain

    async def until_certain(self) -> None:
        await self._revocation.until_certain()

    @property
    def is_ending(self) -> bool:
        return self.connection_state >= State.CLOSING

    @property
    def ends_for_good(self) -> bool:
        return is_for_good(self._close_code)

    async def join_group(
        self,
        group: str,
        *,
        told_up_to: str | None = None,
        on_start: Callable[[Start], None] | None = None,
        **options: Any,
    ) -> None:
        hub, is_held = get_hub(), False

        def start(start: Start) -> None:
            nonlocal is_held
            if on_start is not None:
                on_start(start)
            if told_up_to is not None and told_up_to != hub.control.position:
                is_held = True
                self._revocation.hold()

        try:
            await hub.join(self, group, excluded=self.former_ids, on_start=start, **options)
            if is_held:
                await hub.control.hand_missed(self, told_up_to or "", [group])
        finally:
            if is_held:
                self._revocation.release()

    async def leave_group(self, group: str) -> None:
        if self._volatile is not None:
            self._volatile.forget(group)
        await get_hub().leave(self, group)

    async def notify(self, signal: Signal, **arguments: Any) -> None:
        """Log an event and send its signal, one of :mod:`pm_realtime.signals`."""
        identity = self.identity
        log_event(signal, self.connection_id, identity.user_id, identity.role, arguments)
        if signal.has_listeners(type(self)):
            about = {"connection_id": self.connection_id, "user": identity.user, **arguments}
            await run_site_code(signal.asend_robust, sender=type(self), **about)

    async def send(  # type: ignore[override]
        self, text_data: str | None = None, bytes_data: bytes | None = None, close: Any = False
    ) -> None:
        """For subclasses: send a text frame in its turn."""
        if text_data is None:
            raise ValueError("Expected text_data: this protocol has no binary frames.")
        # In a frame of its own, as it may be any text.
        self._outbox.flush()
        self.deliver(text_data)
        self._outbox.flush()
        if close:
            await self.close(close)

    async def close(self, code: Any = None, reason: str | None = None) -> None:
        """For subclasses: close in its turn, by default with 4503."""
        self.end(CloseCode.DISCONNECTED if code in (None, True) else code, reason or "")

    async def accept(self, subprotocol: str | None = None, headers: Any = None) -> None:
        """Accept the handshake, by default with the subprotocol that was chosen."""
        subprotocol = subprotocol or self._subprotocol
        self._outbox.agree(subprotocol)
        frame: dict[str, Any] = {"type": "websocket.accept", "subprotocol": subprotocol}
        if headers:
            frame["headers"] = list(headers)
        try:
            await self.base_send(frame)
        except Exception as error:
            # The client has gone during the handshake.
            raise StopConsumer from error
        self.connection_state = max(self.connection_state, State.ACCEPTED)

    async def _refuse(self, error: Exception) -> None:
        """Refuse the handshake so that a browser sees the code: accept, send the error, close."""
        closing = refusal_of(error)
        await self.notify(signals.refused, room=None, code=int(closing.code))
        if self.connection_state is State.HANDSHAKE:
            await self.accept()
        if isinstance(error, CommandError):
            self._outbox.release(encode(make_envelope(MessageType.ERROR, error_payload(error))))
        self.end(closing.code, closing.reason)

    async def _clean_up(self) -> None:
        await self._tasks.cancel_beside(*self._inbox.lanes.leave())
        self._rates.leave()
        try:
            try:
                await end_presence(self)
            finally:
                await self._handshake.undo()
        except Exception:
            logger.exception("A connection could not be counted out.")
        self.connection_state = State.CLOSED
        if self._was_open:
            seconds = time.monotonic() - self._began_at
            for room in self.rooms:
                await self.notify(signals.left, room=room, reason=None)
            await self.notify(signals.disconnected, code=self._close_code, seconds=seconds)
