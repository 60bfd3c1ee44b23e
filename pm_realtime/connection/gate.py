"""How many handshakes a process takes: from one address, of one user, and at a time.

What is over an address's rate is refused before anything is done for it. All counts are of this
process alone; they cost no question to anybody.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import parse_qs

from pm_realtime.concurrency import FairQueue, PerLoop
from pm_realtime.conf import conf
from pm_realtime.connection.rate_limits import Meter, parse_rate
from pm_realtime.exceptions import CloseConnection, HandshakeRefused
from pm_realtime.observability import throttle
from pm_realtime.protocol import CloseCode

logger = logging.getLogger("pm_realtime.connection")

#: Addresses, and users, whose handshakes are counted; who came longest ago is forgotten.
MEMORY: Final = 20_000
#: Handshakes of one event loop that may wait before more are refused.
MAX_WAITING: Final = 1000
#: Seconds after which who was refused because of those is told to come again.
RETRY_AFTER: Final = 5
#: Seconds that a socket may take to end after the answer.
LINGER: Final = 1.0

#: Handshakes that begin in one turn of the loop: 1 ms each.
AT_ONCE: Final = 4

EXTENSION: Final = "websocket.http.response"

_addresses: Final = Meter(MEMORY)
_users: Final = Meter(MEMORY)
_lines: Final = PerLoop(lambda: FairQueue(AT_ONCE))


def is_question(query: bytes) -> bool:
    """Whether a handshake is only to tell its client whom the server takes it for."""
    return b"who=" in query and "who" in parse_qs(query.decode("latin1"), keep_blank_values=True)


Application = Callable[[Any, Any, Any], Awaitable[None]]


class Gate:
    """The way into an ASGI ``application`` that serves WebSockets.

    Handshakes go in a few at a time, with a turn of the event loop for all others in between, so
    that a thousand at once hold up no open connection. What is over its address's rate, or comes
    while ``MAX_WAITING`` others wait, is refused at so little cost that a flood is bearable: by
    HTTP where the server can, and no signal is sent.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        try:
            check_address(scope)
            await _lines.get().wait(MAX_WAITING)
        except HandshakeRefused as refusal:
            await _refuse(scope, receive, send, refusal)
        except asyncio.QueueFull:
            _log_refusal(503, f"with {MAX_WAITING} others waiting")
            await _refuse(scope, receive, send, HandshakeRefused(503, RETRY_AFTER))
        else:
            await self.application(scope, receive, send)


def check_address(scope: Mapping[str, Any]) -> None:
    """Count a handshake against its client's address; ``HandshakeRefused`` over its rate."""
    rate = conf.CONNECT_RATE_PER_ADDRESS
    address = rate and address_of(scope)
    if not rate or not address:
        return
    wait = _addresses.take(address, parse_rate(rate), time.monotonic())
    if wait:
        _log_refusal(429, f"over CONNECT_RATE_PER_ADDRESS, lately from {address}")
        raise HandshakeRefused(429, math.ceil(wait))


def check_user(user_id: int | str | None) -> None:
    """Count a handshake against its user; ``CloseConnection`` with 4013 over their rate."""
    rate = conf.CONNECT_RATE_PER_USER
    if rate is None or user_id is None:
        return
    if _users.take(str(user_id), parse_rate(rate), time.monotonic()):
        raise CloseConnection(CloseCode.OVERLOADED, "too many handshakes")


async def _refuse(scope: Any, receive: Any, send: Any, refusal: HandshakeRefused) -> None:
    """Where the server cannot by HTTP, who may come again is told so by a close code."""
    await receive()
    with suppress(Exception):  # The client has gone.
        if EXTENSION in (scope.get("extensions") or {}):
            await _respond(receive, send, refusal)
        elif refusal.status == 429:
            await send({"type": "websocket.close", "code": 1000})
        else:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": int(CloseCode.OVERLOADED)})


async def _respond(receive: Any, send: Any, refusal: HandshakeRefused) -> None:
    headers = [(b"retry-after", str(refusal.retry_after).encode())]
    await send({"type": f"{EXTENSION}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{EXTENSION}.body", "body": b""})
    # uvicorn says twice that the socket has ended, and logs an error for whoever returns before.
    async with asyncio.timeout(LINGER):
        for _ in range(2):
            await receive()


def address_of(scope: Mapping[str, Any]) -> str | None:
    """The address by which a client is counted, IPv6 by its /64; None where it is not.

    With ``PROXIES`` it is read that far from the right of ``X-Forwarded-For``, which is what the
    outermost of these proxies saw; where there are fewer, the handshake came around one of them.
    A peer that is not public is most probably a proxy, which carries everybody.
    """
    proxies = conf.PROXIES
    if proxies:
        seen = _forwarded_for(scope)
        if len(seen) >= proxies:
            return _counted(seen[-proxies], False)
    client = scope.get("client")
    return _counted(client[0], proxies != 0) if client else None


def forget() -> None:
    """Count anew, as in a fresh process."""
    _addresses.clear()
    _users.clear()


def _forwarded_for(scope: Mapping[str, Any]) -> list[str]:
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [each.strip() for each in b",".join(lines).decode("latin1").split(",")] if lines else []


@lru_cache(maxsize=4096)
def _counted(text: str, is_public_only: bool) -> str | None:
    address = _parse(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address is None or (is_public_only and not address.is_global):
        return None
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """The address in ``text``, which some proxies write with a port."""
    for candidate in (text, text.rpartition(":")[0], text[1:].partition("]")[0]):
        try:
            return ip_address(candidate)
        except ValueError:
            pass
    return None


def _log_refusal(status: int, why: str) -> None:
    count = throttle.note(("handshakes", status))
    if count:
        logger.warning("Refused %d handshakes with %d: %s.", count, status, why)
