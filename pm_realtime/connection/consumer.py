"""One WebSocket: its frames in and out, and its life from handshake to close."""

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine, Sequence
from functools import update_wrapper
from typing import Any, Final, cast

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.dispatch import Signal

from pm_realtime import signals
from pm_realtime.auth import (
    Identity,
    RecheckResult,
    anonymous,
    authenticate,
    get_rechecker,
    owner_key_of,
    session_name,
)
from pm_realtime.backends import ConnectionInfo, get_backend
from pm_realtime.commands import check_form
from pm_realtime.conf import conf
from pm_realtime.connection import control, gate
from pm_realtime.connection.batching import choose_subprotocol, make_outbox
from pm_realtime.connection.drain import get_shutdown
from pm_realtime.connection.inbox import Inbox
from pm_realtime.connection.origins import describe, is_allowed_origin
from pm_realtime.connection.revocation import Revocation, groups_of
from pm_realtime.connection.slot import ConnectionSlot
from pm_realtime.connection.sockets import abort, limit_read_buffer
from pm_realtime.exceptions import CloseConnection, CommandError, OutageError
from pm_realtime.hub import Hub, OwnerKey, get_hub, read_resume_position
from pm_realtime.layer import Close, ControlMessage, SessionRekeyed
from pm_realtime.observability import log_event, log_rate_limit, throttle
from pm_realtime.protocol import (
    INTERNAL_ERROR,
    CloseCode,
    Command,
    ErrorCode,
    MessageType,
    decode,
    encode,
    error_payload,
    make_envelope,
)
from pm_realtime.rooms import run_site_code

logger = logging.getLogger("pm_realtime.connection")

#: Seconds a closing connection may take to send what waits: a frozen reader ends here.
DRAIN_TIMEOUT: Final = 30
#: Seconds that commands under way may take on when the process stops.
LAST_COMMANDS_TIMEOUT: Final = 1
#: Seconds that the response with a new session cookie may take.
COOKIE_PERIOD_SECONDS: Final = 10


class RealtimeConsumer(AsyncJsonWebsocketConsumer):
    """The server's side of one connection.

    It has no channel of its own: pushes reach it through the hub of its event loop, which calls
    :meth:`deliver`. Nothing a client sends raises out of it.
    """

    channel_layer_alias = None  # type: ignore[assignment]

    connection_id: str
    identity: Identity
    rooms: dict[str, bool]
    room_lock: asyncio.Lock

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Any:
        """The ASGI application, behind a gate that keeps floods of handshakes out."""
        application = super().as_asgi(**initkwargs)
        return update_wrapper(gate.Gate(application), application)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection until it ends, and clean up whatever ends it."""
        with get_shutdown().including(self):
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.base_send: Any = send
        self.connection_id = uuid.uuid4().hex
        self.identity = anonymous()
        self.rooms = {}
        self.room_lock = asyncio.Lock()
        self._subprotocol = choose_subprotocol(scope.get("subprotocols") or ())
        self._outbox = make_outbox(self._subprotocol, send, on_overflow=self._close_slow)
        self._inbox = Inbox(self, self._answer, lambda: self._outbox.is_closed)
        self._hub: Hub | None = None
        self._rights: Revocation | None = None
        self._close_code = 1006
        self._opened_at = time.monotonic()
        self._last_seen = self._opened_at
        self._is_accepted = self._is_open = self._is_finished = False
        self._has_pinged = self._is_busy = self._has_cancelled = self._has_missed = False
        #: Whether somebody wants this connection to end, or its place not to be kept.
        self._is_decided = False
        self._resumed: str | None = None
        #: The connection of this client that is over, and may be counted still.
        self._former: str | None = None
        #: The one of which its client says so, and nobody here knows.
        self._claimed: str | None = None
        #: Frames after `connected`, sent or still to be.
        self._frames = 0
        self._orders: set[asyncio.Task[None]] = set()
        self._seat = ConnectionSlot()
        self._task = cast("asyncio.Task[None]", asyncio.current_task())
        is_stopped_by_server = False
        try:
            while not self._outbox.is_closed:
                await self.dispatch(await receive())
                # Where frames are queued, neither of the two waits: others get a turn here.
                await asyncio.sleep(0)
        except StopConsumer:
            pass
        except asyncio.CancelledError:
            is_stopped_by_server = self._is_cancelled_by_server()
            self._end_with_process()
        finally:
            is_stopped_by_server |= await self._clean_up_shielded()
            await self._outbox.drain(0 if is_stopped_by_server else DRAIN_TIMEOUT)
        if is_stopped_by_server:
            raise asyncio.CancelledError

    async def dispatch(self, message: Any) -> None:
        """Hand an ASGI event to its method.

        Channels' own version first asks the process's one database thread to close old
        connections, and so makes every frame wait for the slowest query of all; here those who use
        the database return their connections themselves.
        """
        await getattr(self, message["type"].replace(".", "_"))(message)

    async def websocket_connect(self, message: Any) -> None:
        try:
            await self.connect()
        except StopConsumer:
            raise
        except CloseConnection as closing:
            await self._refuse(closing.code, closing.reason)
        except CommandError as error:
            await self._refuse(CloseCode.OVERLOADED, error=error)
        except OutageError as error:
            logger.debug("A connection could not be opened: %s", error)
            await self._refuse(CloseCode.OVERLOADED)
        except Exception as error:
            if throttle.note_error(error):
                logger.exception("A connection could not be opened.")
            await self._refuse(CloseCode.OVERLOADED)

    async def websocket_disconnect(self, message: Any) -> None:
        await self._inbox.finish()
        code = message.get("code") or 1005
        # Not 1005, which uvicorn says of a socket that broke.
        self._is_decided |= code == 1000
        if not self._outbox.is_closed:
            self._close_code = code
        raise StopConsumer

    async def connect(self) -> None:
        """The handshake: whose page is it, who is the user, is there room for one more.

        The connection can be reached (and pushed out again) before it is counted, and what reaches
        it waits until ``connected`` has gone out.
        """
        if not is_allowed_origin(self.scope):
            logger.warning("A page that is not of this site was refused: %s.", describe(self.scope))
            await self.notify(signals.refused, room=None, code=403)
            self._outbox.close(1000)
            return
        get_shutdown().check()
        if gate.is_question(self.scope.get("query_string", b"")):
            await self._say_who()
            return
        began = time.monotonic()
        self._hub = get_hub()
        await self._hub.add(self)
        await self._identify()
        self._check_cookie(self._hub)
        await self._come_in(began, self._hub)
        await self._count_in()
        get_shutdown().check()
        self._welcome()
        self._is_open = True
        self._last_seen = time.monotonic()
        await self.notify(signals.connected)

    async def _say_who(self) -> None:
        """Tell a tab that may share another's connection whom it would be: it is not counted."""
        await self._identify()
        self._welcome()
        self.end(1000, "said who")

    async def _identify(self) -> None:
        """Find out who this is, and accept where such a user may come just now."""
        self.identity = await authenticate(self.scope)
        gate.check_user(self.identity.user_id)
        await self._accept()

    def _check_cookie(self, hub: Hub) -> None:
        """Have the client come again if its cookie is one that the browser is just replacing."""
        name = None if self.identity.is_authenticated else session_name(self.scope)
        if name is not None and hub.control_log.has(SessionRekeyed(name), COOKIE_PERIOD_SECONDS):
            raise CloseConnection(CloseCode.OVERLOADED, "the session has a new cookie")

    def _welcome(self) -> None:
        """Send ``connected``, then what has waited for that."""
        self._outbox.release(self._encode(MessageType.CONNECTED, self._connected_payload()))

    async def _come_in(self, began: float, hub: Hub) -> None:
        """Be reached from now on, also by what was ordered since the session was read."""
        self._rights = Revocation(self, hub)
        self._resume(hub)
        own_groups = groups_of(self.identity, self.connection_id)
        await hub.join_all(self, own_groups)
        # Not before: who has lost a role meanwhile could not leave a group that is still joined.
        if self.identity.is_authenticated:
            get_rechecker().add(self)
        self.catch_up(began, own_groups)
        if self._has_missed:
            self._rights.recheck()
        if self._outbox.is_closed:
            raise StopConsumer

    def _resume(self, hub: Hub) -> None:
        """Go on where another connection has dropped, and do not lose one's own place then."""
        bookmark = read_resume_position(self.scope.get("query_string", b""))
        if bookmark is None:
            return
        if conf.RESUME_PERIOD:
            hub.missed.begin(self)
            is_whole, self._former = hub.missed.resume(self, bookmark)
            self._resumed = bookmark.connection_id if is_whole else None
        if not hub.knows(bookmark.connection_id):
            self._claimed = bookmark.connection_id or None

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """One frame of the client: decode, count against the rate, carry out, answer.

        What is malformed is answered and takes nothing from the rate, being a mistake of the
        client's code; only a flood of it closes the connection.
        """
        self._last_seen = time.monotonic()
        self._is_busy = True
        command: Command | None = None
        is_well_formed = False
        try:
            frame = text_data if text_data is not None else bytes_data
            command = decode(frame, max_bytes=conf.MAX_MESSAGE_BYTES)
            self._has_pinged |= command.type == MessageType.PING
            check_form(command)
            is_well_formed = True
            self._inbox.check_rate()
            await self._inbox.put(command)
        except Exception as error:
            self._answer(error, command)
            if not is_well_formed and not self._outbox.is_closed:
                await self._slow_down()
        finally:
            self._is_busy = False
            self._last_seen = time.monotonic()

    async def _slow_down(self) -> None:
        try:
            await self._inbox.slow_down()
        except CloseConnection as flood:
            self._answer(flood, None)

    def _answer(self, error: Exception, command: Command | None) -> None:
        """The one place where what went wrong becomes a reply or a close code."""
        if isinstance(error, CloseConnection):
            self.end(error.code, error.reason)
            if error.code == CloseCode.RATE_LIMITED:
                abort(self.base_send)
            return
        if not isinstance(error, CommandError):
            if not isinstance(error, OutageError):  # The log has that already.
                logger.error("A command failed.", exc_info=error)
            error = CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR)
        elif error.code == ErrorCode.RATE_LIMITED:
            log_rate_limit(self.connection_id, self.identity.user_id)
        id = command.id if command is not None else error.id
        self._deliver(MessageType.ERROR, error_payload(error), id)

    def reply(self, type: str, payload: Any = None, *, to: Command | None = None) -> None:
        """Send an envelope that carries the id of the command it answers. Never waits."""
        self._deliver(type, payload, to.id if to is not None else None)

    def deliver(self, text: str) -> int:
        """Send a text frame as it is. Never waits. Which frame after ``connected`` it is."""
        self._frames += 1
        self._outbox.deliver(text)
        return self._frames

    def deliver_all(self, texts: tuple[str, ...]) -> int:
        """Send several text frames. Never waits. Which frame after ``connected`` the last is."""
        if type(self).deliver is not RealtimeConsumer.deliver:
            for text in texts:
                self.deliver(text)
            return self._frames
        self._frames += len(texts)
        self._outbox.deliver_all(texts)
        return self._frames

    @property
    def owner_key(self) -> OwnerKey | None:
        """Who may go on where this connection drops; None while that is in doubt."""
        if self._is_decided or not self.is_certain:
            return None
        return owner_key_of(self.identity, self.scope)

    def give_way(self) -> None:
        """End, as the client has gone on with another connection."""
        self.end(CloseCode.HEARTBEAT_LOST, "gone on with another connection")

    def deliver_missed(self, group: str) -> None:
        """Send what was missed of ``group``, which was joined in this instant."""
        assert self._hub is not None
        self._hub.deliver_missed(self, group)

    def end(self, code: int, reason: str = "") -> None:
        """Close with ``code`` after what waits to be sent. Callable from any task of the loop."""
        self._is_decided = True
        if self._outbox.is_closed:
            return
        self._close_code = int(code)
        # What has gathered leaves first, and may find the client too slow: then it has ended here.
        self._outbox.close(code, reason)
        may_cancel = not (self._is_finished or self._has_cancelled)
        if may_cancel and asyncio.current_task() is not self._task:
            self._has_cancelled = True
            self._task.cancel()

    def go_away(self) -> None:
        """Close with 4012, as the process stops, once the commands under way are done."""
        if not self._is_open:
            return  # The handshake finds out by itself, and refuses so that a browser learns why.
        if self._inbox.worker is None:
            self._end_with_process()
        else:
            self.begin(self._go_away_after(self._inbox.worker))

    async def _go_away_after(self, worker: asyncio.Task[None]) -> None:
        await asyncio.wait({worker}, timeout=LAST_COMMANDS_TIMEOUT)
        self._end_with_process()

    def _end_with_process(self) -> None:
        self.end(CloseCode.RESTARTING, "the server stops")

    def check_heartbeat(self, deadline: float) -> None:
        """End with 4001 where a client that sends pings was last heard before ``deadline``."""
        is_busy = self._is_busy or self._inbox.worker is not None
        if self._has_pinged and not is_busy and self._last_seen < deadline:
            self.end(CloseCode.HEARTBEAT_LOST, "no heartbeat")

    def receive_control(self, message: ControlMessage) -> None:
        """Begin to carry out a control message."""
        if self._is_finished:
            # The next connection of the client must not go on here without having got it.
            self._is_decided = True
        elif self._rights is not None:
            control.carry_out(self, self._rights, message)
        elif isinstance(message, Close):
            self.end(message.code, message.reason)
        else:
            # The connection is in no group yet, so it is the recheck of a hub that missed some.
            self._has_missed = True

    def begin(self, order: Coroutine[Any, Any, None]) -> None:
        """Carry out ``order`` beside the commands of the client."""
        if self._is_finished:
            order.close()
            return
        task = asyncio.get_running_loop().create_task(order)
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)

    def catch_up(self, moment: float, groups: Sequence[str]) -> None:
        """Follow the orders for ``groups`` that were heard since ``moment``, monotonic seconds."""
        assert self._hub is not None
        for message in self._hub.control_log.since(moment, groups):
            self.receive_control(message)

    def apply(self, result: RecheckResult) -> None:
        """Take what a re-check found of this connection."""
        assert self._rights is not None
        self._rights.apply(result)

    def recheck_failed(self) -> None:
        """End where something has changed: nobody can find out what."""
        assert self._rights is not None
        self._rights.recheck_failed()

    @property
    def rights_version(self) -> int:
        return self._rights.version if self._rights is not None else 0

    @property
    def is_certain(self) -> bool:
        return self._rights is None or self._rights.is_certain

    async def until_certain(self) -> None:
        """Return when nothing about who this is, or may do, is in doubt."""
        if self._rights is not None:
            await self._rights.until_certain()

    async def join_group(self, group: str) -> None:
        """Receive what is sent to ``group`` from now on."""
        assert self._hub is not None
        await self._hub.join(self, group)

    async def leave_group(self, group: str) -> None:
        """Receive nothing more that is sent to ``group``."""
        assert self._hub is not None
        await self._hub.leave(self, group)

    async def notify(self, signal: Signal, **arguments: Any) -> None:
        """Log what has happened and send one of :mod:`pm_realtime.signals`.

        A receiver that raises is logged by Django.
        """
        identity = self.identity
        log_event(signal, self.connection_id, identity.user_id, identity.role, arguments)
        if not signal.has_listeners(type(self)):
            return
        await run_site_code(
            signal.asend_robust,
            sender=type(self),
            connection_id=self.connection_id,
            user=self.identity.user,
            **arguments,
        )

    async def send(  # type: ignore[override]
        self, text_data: str | None = None, bytes_data: bytes | None = None, close: Any = False
    ) -> None:
        """For subclasses: send a text frame in its turn."""
        if text_data is None:
            raise ValueError("Expected text_data: this protocol has no binary frames.")
        # In a frame of its own: it may be anything.
        self._outbox.flush()
        self.deliver(text_data)
        self._outbox.flush()
        if close:
            await self.close(close)

    async def close(self, code: Any = None, reason: str | None = None) -> None:
        """For subclasses: close in its turn, by default with 4503."""
        self.end(CloseCode.DISCONNECTED if code in (None, True) else code, reason or "")

    def _encode(self, type: str, payload: Any = None, id: str | None = None) -> str:
        return encode(make_envelope(type, payload, id=id))

    def _deliver(self, type: str, payload: Any, id: str | None) -> None:
        self.deliver(self._encode(type, payload, id))
        # An answer ends its frame: a page that awaits it can act before the next message comes.
        self._outbox.flush()

    async def _count_in(self) -> None:
        """Take one of the places; raise ``CloseConnection`` where there is none."""
        identity = self.identity
        info = ConnectionInfo(
            connection_id=self.connection_id,
            user_id=str(identity.user_id) if identity.is_authenticated else None,
            role=identity.role,
            connected_at=time.time(),
        )
        await self._seat.take(info, former=self._former, claimed=self._claimed)
        if self.identity.role != info.role:
            await get_backend().set_role(self.connection_id, self.identity.role)

    async def _accept(self) -> None:
        limit_read_buffer(self.base_send)
        await self.accept()

    async def accept(self, subprotocol: str | None = None, headers: Any = None) -> None:
        """Answer the handshake with yes, and with what was agreed where it names nothing else."""
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
        self._is_accepted = True

    async def _refuse(
        self, code: int, reason: str = "", *, error: CommandError | None = None
    ) -> None:
        """Refuse so that a browser learns why: accept, tell ``error``, close with the code."""
        await self.notify(signals.refused, room=None, code=int(code))
        if not self._is_accepted:
            await self._accept()
        if error is not None:
            self._outbox.release(self._encode(MessageType.ERROR, error_payload(error)))
        self.end(code, reason)

    def _connected_payload(self) -> dict[str, Any]:
        payload = {
            "userId": self.identity.user_id,
            "connectionId": self.connection_id,
            "role": self.identity.role,
            "heartbeatInterval": round(conf.HEARTBEAT_INTERVAL * 1000),
            "heartbeatTimeout": round(conf.HEARTBEAT_TIMEOUT * 1000),
        }
        return payload | ({"resumed": self._resumed} if self._resumed else {})

    def _close_slow(self) -> None:
        self._outbox.discard()
        self.end(CloseCode.TOO_SLOW, "too slow to read")

    async def _clean_up_shielded(self) -> bool:
        """Clean up to the end, whoever cancels meanwhile. True where the server did."""
        self._is_finished = True
        is_stopped_by_server = False
        cleaning = asyncio.get_running_loop().create_task(self._clean_up())
        while not cleaning.done():
            try:
                await asyncio.shield(cleaning)
            except asyncio.CancelledError:
                is_stopped_by_server |= self._is_cancelled_by_server()
        return is_stopped_by_server

    def _is_cancelled_by_server(self) -> bool:
        """Whether a cancellation just caught came (also) from outside; takes our own one back."""
        requests = self._task.cancelling()
        if self._has_cancelled:
            self._has_cancelled = False
            self._task.uncancel()
            requests -= 1
        return requests > 0

    async def _clean_up(self) -> None:
        # An order that was not carried out may have been about rights.
        self._is_decided |= bool(self._orders) or not self._is_open or get_shutdown().is_draining
        tasks = {*self._orders, *filter(None, [self._inbox.worker])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._rights is not None and self.identity.is_authenticated:
            get_rechecker().discard(self)
        try:
            if self._hub is not None:
                await self._hub.remove(self, is_dropped=not self._is_decided)
            await self._seat.leave()
        except Exception:
            logger.exception("A connection could not be counted out.")
        if self._is_open:
            seconds = time.monotonic() - self._opened_at
            for room in self.rooms:
                await self.notify(signals.left, room=room, reason=None)
            await self.notify(signals.disconnected, code=self._close_code, seconds=seconds)
