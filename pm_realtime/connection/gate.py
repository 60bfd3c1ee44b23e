"""How many handshakes a process takes: from one address, of one user, and at a time.

All counts are of this process alone: counting needs neither Redis nor the database.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from pm_realtime.concurrency import FairQueue, PerLoop
from pm_realtime.conf import conf, parse_rate
from pm_realtime.connection.rate_limits import Meter
from pm_realtime.exceptions import CloseConnection, HandshakeRefused
from pm_realtime.hub import control_position
from pm_realtime.observability import log_failure, throttle
from pm_realtime.protocol import CloseCode

logger = logging.getLogger("pm_realtime.connection")

#: Addresses, and users, whose handshakes are counted at a time.
MAX_COUNTED_KEYS: Final = 20_000
#: Handshakes of one event loop that may be under way before more are refused.
MAX_HANDSHAKES: Final = 1000
#: Characters of an address with a zone and a port.
MAX_ADDRESS_LENGTH: Final = 100
#: Counted for clients of which neither a proxy nor the server gives an address.
UNREADABLE: Final = "an address that cannot be read"
#: Seconds after which a client that was refused because of those is asked to come again.
RETRY_AFTER_SECONDS: Final = 5
#: Seconds for which a refused socket is waited for after the answer.
LINGER_SECONDS: Final = 1.0
#: Handshakes that begin in one turn of the event loop; each takes about 1 ms.
HANDSHAKES_PER_TURN: Final = 4

HTTP_EXTENSION: Final = "websocket.http.response"

_addresses: Final = Meter(MAX_COUNTED_KEYS)
_users: Final = Meter(MAX_COUNTED_KEYS)
_queues: Final = PerLoop(lambda: FairQueue(HANDSHAKES_PER_TURN))
#: The handshakes that have not ended yet, and the one of the running task. Tasks inherit it, so
#: that a site may run the handshake in a task of its own.
_handshakes: Final = PerLoop[set["_Entry"]](set)
_handshake: Final = ContextVar["_Entry | None"]("pm_realtime_handshake", default=None)

Application = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Entry:
    """A handshake at the gate, and the last control message that came before it."""

    arrived_after: str = field(default_factory=control_position)


class Gate:
    """The entrance of an ASGI ``application`` that serves WebSockets.

    Handshakes begin a few at a time, with a turn of the event loop for other tasks in between. A
    handshake over the rate of its address, or with ``max_handshakes`` others under way, is refused
    at so little cost that a flood is bearable: by HTTP if the server can, and without a signal.
    """

    def __init__(self, application: Application, *, max_handshakes: int = MAX_HANDSHAKES) -> None:
        self.application = application
        self._max_handshakes = max_handshakes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        handshakes, handshake = _handshakes.get(), _Entry()
        try:
            check_address(scope)
            if (count := len(handshakes)) >= self._max_handshakes:
                _log_refusal(503, f"with {count} others waiting")
                raise HandshakeRefused(503, RETRY_AFTER_SECONDS)
        except HandshakeRefused as refusal:
            await _refuse(scope, receive, send, refusal)
            return
        except ImproperlyConfigured as error:
            log_failure(logger, "", error)
            await _refuse(scope, receive, send, HandshakeRefused(503, RETRY_AFTER_SECONDS))
            return
        handshakes.add(handshake)
        _handshake.set(handshake)
        try:
            await _queues.get().wait()
            await self.application(scope, receive, send)
        finally:
            handshakes.discard(handshake)


def arrival() -> str:
    """The position of the last control message before the handshake of the running task arrived
    at its gate; empty if this event loop had no hub then."""
    return (_handshake.get() or _Entry()).arrived_after


def end_handshake() -> None:
    """Count the handshake of the running task no more."""
    if (handshake := _handshake.get()) is not None:
        _handshakes.get().discard(handshake)


def check_address(scope: Mapping[str, Any]) -> None:
    """Count a handshake for its client's address. ``HandshakeRefused`` if it is over the rate."""
    rate = conf.CONNECT_RATE_PER_ADDRESS
    address = rate and address_of(scope)
    if not rate or not address:
        return
    wait = _addresses.take(address, parse_rate(rate), time.monotonic())
    if wait:
        _log_refusal(429, f"over CONNECT_RATE_PER_ADDRESS, lately from {address}")
        raise HandshakeRefused(429, math.ceil(wait))


def check_user(user_id: int | str | None) -> None:
    """Count a handshake for its user. ``CloseConnection`` with 4013 if it is over the rate."""
    rate = conf.CONNECT_RATE_PER_USER
    if rate is None or user_id is None:
        return
    if _users.take(str(user_id), parse_rate(rate), time.monotonic()):
        raise CloseConnection(CloseCode.OVERLOADED, "too many handshakes")


async def _refuse(scope: Any, receive: Any, send: Any, refusal: HandshakeRefused) -> None:
    """Refuse by HTTP. If the server cannot do that, a 503 becomes a close code."""
    await receive()
    with suppress(Exception):  # The client has gone.
        if HTTP_EXTENSION in (scope.get("extensions") or {}):
            headers = [(b"retry-after", str(refusal.retry_after).encode())]
            start = {"status": refusal.status, "headers": headers}
            await send({"type": f"{HTTP_EXTENSION}.start", **start})
            await send({"type": f"{HTTP_EXTENSION}.body", "body": b""})
            # uvicorn sends the end of the socket twice, and logs an error if we return first.
            async with asyncio.timeout(LINGER_SECONDS):
                for _ in range(2):
                    await receive()
        elif refusal.status == 429:
            await send({"type": "websocket.close", "code": 1000})
        else:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": int(CloseCode.OVERLOADED)})


def address_of(scope: Mapping[str, Any]) -> str | None:
    """The address for which a handshake is counted, IPv6 by its /64; None if it is not counted.

    With ``PROXIES`` it is read so far from the right of ``X-Forwarded-For``: the outermost of these
    proxies saw it. An entry that is no address counts for the next proxy, which passed it on. With
    fewer entries, the handshake came past one of them, and its peer counts. A peer without a public
    address is probably a proxy, and counts only if ``PROXIES`` is 0.
    """
    proxies, client = conf.PROXIES, scope.get("client")
    peer = str(client[0]) if client else ""
    if proxies:
        seen = _forwarded_for(scope)
        if len(seen) >= proxies:
            addresses = (_counted(each, False) for each in (*seen[-proxies:], peer))
            return next(filter(None, addresses), UNREADABLE)
    return _counted(peer, proxies != 0)


def forget_counts() -> None:
    """Forget all addresses and users, as in a new process."""
    _addresses.clear()
    _users.clear()


def _forwarded_for(scope: Mapping[str, Any]) -> list[str]:
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [each.strip() for each in b",".join(lines).decode("latin1").split(",")] if lines else []


@lru_cache(maxsize=4096)
def _counted(text: str, is_public_only: bool) -> str | None:
    address = _parse(text) if len(text) <= MAX_ADDRESS_LENGTH else None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address is None or (is_public_only and not address.is_global):
        return None
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """The address in ``text``; some proxies add a port."""
    bracketed = text[1:].partition("]")[0] if text.startswith("[") else ""
    for candidate in (text, text.rpartition(":")[0], bracketed):
        try:
            return ip_address(candidate)
        except ValueError:
            pass
    return None


def _log_refusal(status: int, why: str) -> None:
    count = throttle.note(("handshakes", status))
    if count:
        logger.warning("Refused %d handshakes with %d: %s.", count, status, why)
