"""Connections to the Redis servers that ``hosts`` and ``LOCATION`` name, as channels-redis does.

redis-py has each class twice, for threads and for asyncio; a :class:`Flavour` is one set of them.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

try:
    import redis.asyncio
    import redis.asyncio.connection
    import redis.asyncio.retry
    import redis.asyncio.sentinel
    import redis.connection
    import redis.retry
    import redis.sentinel
    from redis.backoff import NoBackoff
except ImportError:
    is_installed = False
else:
    is_installed = True


class Flavour(NamedTuple):
    """The classes of redis-py for one kind of caller."""

    parse_url: Callable[[str], Any]
    pool: Any
    sentinel: Any
    sentinel_pool: Any
    retry: Any


def for_threads() -> Flavour:
    """The classes that block."""
    return Flavour(
        redis.connection.parse_url,
        redis.ConnectionPool,
        redis.sentinel.Sentinel,
        redis.sentinel.SentinelConnectionPool,
        redis.retry.Retry,
    )


def for_asyncio() -> Flavour:
    """The classes to await."""
    return Flavour(
        redis.asyncio.connection.parse_url,
        redis.asyncio.ConnectionPool,
        redis.asyncio.sentinel.Sentinel,
        redis.asyncio.sentinel.SentinelConnectionPool,
        redis.asyncio.retry.Retry,
    )


#: What channels-redis connects to where a layer names no hosts.
DEFAULT_HOST: Final = {"address": "redis://localhost:6379"}


#: The forms in which a host may be written.
FORMS: Final = (
    'a URL such as "redis://localhost:6379/0", a pair such as ("localhost", 6379), or a dict'
)
_SCHEMES: Final = ("redis://", "rediss://", "unix://")


def read_hosts(hosts: Any) -> list[dict[str, Any]]:
    """The entries of ``hosts`` as dicts. Raises ``ValueError`` for what cannot be hosts."""
    return [_read_host(host) for host in _entries(hosts)]


def problems_of(hosts: Any) -> Iterator[tuple[str, str]]:
    """Which parts of ``hosts`` cannot be used, as ``[1]``, and why; nobody is connected to."""
    try:
        entries = _entries(hosts)
    except ValueError as error:
        yield "", str(error)
        return
    for number, entry in enumerate(entries):
        try:
            open_pools(_read_host(entry), 1, for_asyncio())
        except ValueError as error:
            yield f"[{number}]", str(error)


def _entries(hosts: Any) -> list[Any]:
    if not hosts:
        return [DEFAULT_HOST]
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


def open_pools(host: dict[str, Any], timeout: float, flavour: Flavour, **ours: Any) -> list[Any]:
    """As :func:`make_pools`. Raises ``ValueError`` where no connection can be made of ``host``."""
    if "address" in host:
        _check_address(host["address"])
    else:
        _check_port(host.get("port", 6379))
    try:
        pools = make_pools(host, timeout, flavour, **ours)
        for pool in pools:
            pool.connection_class(**pool.connection_kwargs)
    except KeyError as error:
        raise ValueError(f"{error} is missing in {_shown(host)}.") from None
    except Exception as error:
        raise ValueError(f"expected {FORMS}, got {_shown(host)} ({_reason(error)}).") from None
    return pools


def _check_address(address: Any) -> None:
    if not isinstance(address, str):
        raise ValueError(f"expected {FORMS}, got {address!r} ({type(address).__name__}).")
    if not address.startswith(_SCHEMES):
        schemes = f"{', '.join(_SCHEMES[:-1])} or {_SCHEMES[-1]}"
        found = repr(without_password(address))
        raise ValueError(f"expected a URL that begins with {schemes}, got {found}.")


def _check_port(port: Any) -> None:
    try:
        int(port)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number as port, got {port!r}.") from None


def _shown(host: dict[str, Any]) -> str:
    """``host`` without anything secret: of a dict, the keys."""
    if host.keys() == {"address"}:
        return repr(without_password(host["address"]))
    return f"one of {', '.join(map(repr, host))}"


def _reason(error: Exception) -> str:
    """What ``error`` says, unless it may repeat a piece of a password."""
    text = str(error).rstrip(".")
    if text.startswith("Port "):
        return 'its port is no number; in a password write "/" as %2F, "#" as %23, "?" as %3F'
    is_harmless = isinstance(error, TypeError) or text.startswith("Invalid value for ")
    return text if is_harmless else type(error).__name__


def without_password(address: str) -> str:
    """``address``, however broken it is, with stars for what is or may be a password."""
    address = re.sub(r"(?i)(password=)[^&]*", r"\1***", address)
    before, at, after = address.rpartition("@")
    if at:
        scheme, separator, _ = before.partition("://")
        return f"{scheme}://***@{after}" if separator else f"***@{after}"
    return re.sub(r"(//[^/:\[]*:)(?!\d+(?:[/?#]|$))[^/?#]*", r"\1***", address)


def make_pools(host: dict[str, Any], timeout: float, flavour: Flavour, **ours: Any) -> list[Any]:
    """The pool of the server that ``host`` is about, and those of its sentinels.

    ``timeout`` is in seconds, for connecting and for each answer; nothing is tried twice, as what
    was asked may have been done. ``ours`` are further options of the pool.
    """
    ours = {**_bounds(timeout, flavour), **ours}
    options = {**host}
    if (address := options.pop("address", None)) is not None:
        return [flavour.pool(**{**options, **flavour.parse_url(address), **ours})]
    if (master := options.pop("master_name", None)) is None:
        return [flavour.pool(**{**options, **ours})]
    sentinel = _make_sentinel(options, timeout, flavour)
    pool = flavour.sentinel_pool(master, sentinel, **{**options, **ours})
    return [pool, *(client.connection_pool for client in sentinel.sentinels)]


def _make_sentinel(options: dict[str, Any], timeout: float, flavour: Flavour) -> Any:
    """Take what is about the sentinels out of ``options``.

    They are asked in turn, so each has a part of the time: one that says nothing must not use up
    what the others and the server need.
    """
    sentinels = options.pop("sentinels")
    bounds = _bounds(timeout / (len(sentinels) + 1), flavour)
    given = options.pop("sentinel_kwargs", None) or {}
    return flavour.sentinel(sentinels, sentinel_kwargs={**given, **bounds})


def _bounds(timeout: float, flavour: Flavour) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": flavour.retry(NoBackoff(), 0),
    }


def address_of(pool: Any) -> str:
    """Where the server of ``pool`` is, without its password."""
    if master := getattr(pool, "service_name", None):
        return str(master)
    options = pool.connection_kwargs
    if path := options.get("path"):
        return str(path)
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
