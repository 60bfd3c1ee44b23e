"""Connection pools for the servers that ``hosts`` and ``LOCATION`` name.

Hosts are read as channels-redis reads them.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pm_realtime.redis.driver import driver_for_asyncio, no_retry

#: Timeouts of sockets in an event loop, as multiples of those of calls.
BUSY_LOOP_FACTOR: Final = 10
#: The forms in which a host may be written.
HOST_FORMS: Final = (
    'a URL such as "redis://localhost:6379/0", a pair such as ("localhost", 6379), or a dict'
)


def read_hosts(hosts: Any) -> list[dict[str, Any]]:
    """The entries of ``hosts`` as dicts. Raises ``ValueError`` if they cannot be hosts."""
    return [_read_host(host) for host in _entries(hosts)]


def databases_of(hosts: Any) -> tuple[int, ...]:
    """The number of the database of each of ``hosts``. Raises ``ValueError`` if one has none.

    Connects to no server.
    """
    pools = [open_pools(host, 1, driver_for_asyncio)[0] for host in read_hosts(hosts)]
    return tuple(int(pool.connection_kwargs.get("db") or 0) for pool in pools)


def host_problems(hosts: Any) -> Iterator[tuple[str, str]]:
    """Each part of ``hosts`` that cannot be used, such as ``[1]``, and the reason.

    Connects to no server.
    """
    try:
        entries = _entries(hosts)
    except ValueError as error:
        yield "", str(error)
        return
    for number, entry in enumerate(entries):
        try:
            open_pools(_read_host(entry), 1, driver_for_asyncio)
        except ValueError as error:
            yield f"[{number}]", str(error)


def _entries(hosts: Any) -> list[Any]:
    if not hosts:
        return ["redis://localhost:6379"]
    if isinstance(hosts, str | bytes | dict) or not isinstance(hosts, Iterable):
        raise ValueError(f"expected a list of hosts, got one of type {type(hosts).__name__}.")
    entries = list(hosts)
    if len(entries) == 2 and _is_pair(*entries):
        raise ValueError("expected a list of hosts, got one pair; write it as a list of pairs.")
    return entries


def _is_pair(host: Any, port: Any) -> bool:
    is_port = isinstance(port, int) or (isinstance(port, str) and port.isdecimal())
    return isinstance(host, str) and "://" not in host and is_port


def _read_host(host: Any) -> dict[str, Any]:
    if isinstance(host, dict):
        return dict(host)
    if isinstance(host, tuple | list):
        if len(host) < 2:
            raise ValueError(f"expected a pair of host and port, got {len(host)} of the two.")
        return {"host": host[0], "port": host[1]}
    return {"address": host}


def open_pools(host: dict[str, Any], timeout: float, driver: Any, **pool_options: Any) -> list[Any]:
    """The pool of the server at ``host``, followed by those of its sentinels.

    ``timeout`` is in seconds, for connecting and for each answer. The driver for asyncio gets ten
    times as much, as its clock also runs while the event loop is busy: its callers bound each call.
    Nothing is retried, as a command without an answer may have been carried out. Raises
    ``ValueError`` if no connection can be made of ``host``; connects to no server itself.
    """
    _check(host)
    try:
        pools = _make_pools(host, timeout, driver, pool_options)
        for pool in pools:
            pool.connection_class(**pool.connection_kwargs)
    except KeyError as error:
        raise ValueError(f"{error} is missing in {_shown(host)}.") from None
    except Exception as error:
        raise ValueError(f"expected {HOST_FORMS}, got {_shown(host)} ({_reason(error)}).") from None
    return pools


def _check(host: dict[str, Any]) -> None:
    """Raise ``ValueError`` for mistakes that redis-py would not report, or not clearly."""
    if "address" not in host:
        port = host.get("port", 6379)
        try:
            int(port)
        except (TypeError, ValueError):
            raise ValueError(f"expected a number as port, got {port!r}.") from None
        return
    address = host["address"]
    if not isinstance(address, str):
        raise ValueError(f"expected {HOST_FORMS}, got {address!r} ({type(address).__name__}).")
    if not address.startswith(("redis://", "rediss://", "unix://")):
        schemes, found = "redis://, rediss:// or unix://", without_password(address)
        raise ValueError(f"expected a URL that begins with {schemes}, got {found!r}.")


def _shown(host: dict[str, Any]) -> str:
    """``host`` without secrets: of a dict, only the keys."""
    if host.keys() == {"address"}:
        return repr(without_password(host["address"]))
    return f"one of {', '.join(map(repr, host))}"


def _reason(error: Exception) -> str:
    """The text of ``error``, unless it may repeat a piece of a password."""
    text = str(error).rstrip(".")
    if text.startswith("Port "):
        return 'its port is no number; in a password write "/" as %2F, "#" as %23, "?" as %3F'
    is_harmless = isinstance(error, TypeError) or text.startswith("Invalid value for ")
    return text if is_harmless else type(error).__name__


def without_password(address: str) -> str:
    """``address``, even a malformed one, with stars in place of anything like a password."""
    address = re.sub(r"(?i)(password=)[^&]*", r"\1***", address)
    before, at, after = address.rpartition("@")
    if at:
        scheme, separator, _ = before.partition("://")
        return f"{scheme}://***@{after}" if separator else f"***@{after}"
    return re.sub(r"(//[^/:\[]*:)(?!\d+(?:[/?#]|$))[^/?#]*", r"\1***", address)


def _make_pools(
    host: dict[str, Any], timeout: float, driver: Any, pool_options: dict[str, Any]
) -> list[Any]:
    socket_timeout = timeout * (BUSY_LOOP_FACTOR if driver is driver_for_asyncio else 1)
    options, pool_options = {**host}, {**_limits(socket_timeout, driver), **pool_options}
    if (address := options.pop("address", None)) is not None:
        from_url = driver.connection.parse_url(address)
        return [driver.ConnectionPool(**{**options, **from_url, **pool_options})]
    if (master := options.pop("master_name", None)) is None:
        return [driver.ConnectionPool(**{**options, **pool_options})]
    sentinels, given = options.pop("sentinels"), options.pop("sentinel_kwargs", None) or {}
    # The sentinels are asked one after the other, so each gets a part of the time: a silent one
    # must not use up the time of the others and of the server.
    limits = _limits(timeout / (len(sentinels) + 1), driver)
    sentinel = driver.sentinel.Sentinel(sentinels, sentinel_kwargs={**given, **limits})
    pool = driver.sentinel.SentinelConnectionPool(master, sentinel, **{**options, **pool_options})
    return [pool, *(client.connection_pool for client in sentinel.sentinels)]


def _limits(timeout: float, driver: Any) -> dict[str, Any]:
    times = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    return {**times, "retry": no_retry(driver)}


async def close_idle(pool: Any) -> None:
    """Close the sockets of a pool for asyncio that are not in use, without a moment's wait.

    So no other task gets one that is being closed.
    """
    for connection in list(getattr(pool, "_available_connections", ())):
        await connection.disconnect(nowait=True)


def address_of(pool: Any) -> str:
    """The address of the server of ``pool``, without its password."""
    if master := getattr(pool, "service_name", None):
        return str(master)
    options = pool.connection_kwargs
    if path := options.get("path"):
        return str(path)
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
