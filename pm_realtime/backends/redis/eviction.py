"""Servers that may throw streams away when their memory is full."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning

from pm_realtime.redis import SERVER_ERRORS, address_of, driver_for_threads, open_pools

#: For connecting to each server, and for its answer.
TIMEOUT_SECONDS: Final = 1.0
KEEPS_ALL: Final = "noeviction"
#: Of servers that are away, and of options that are only read when a socket is opened.
_ERRORS: Final[tuple[type[Exception], ...]] = (
    *SERVER_ERRORS,
    ValueError,
    TypeError,
    AttributeError,
)


def check_eviction(hosts: Iterator[Mapping[str, Any]]) -> Iterator[CheckMessage]:
    """A warning for each of ``hosts`` that may evict keys; those that are away are passed over."""
    for host in hosts:
        address, policy = _read_policy(host)
        if policy != KEEPS_ALL:
            yield CheckWarning(
                f"Redis at {address} has the maxmemory-policy {policy!r}: when its memory is full, "
                "it evicts streams, and clients that come back are told that messages are missing.",
                hint=f"Give pm_realtime a server of its own, and set maxmemory-policy {KEEPS_ALL}.",
                id="pm_realtime.W032",
            )


def _read_policy(host: Mapping[str, Any]) -> tuple[str, str]:
    """The address of ``host`` and its policy; ``KEEPS_ALL`` if it has no limit, or is not known."""
    try:
        pools = open_pools(dict(host), TIMEOUT_SECONDS, driver_for_threads)
    except (ValueError, TypeError):
        return "", KEEPS_ALL  # Another check reports it, or it is for asyncio only.
    try:
        memory = driver_for_threads.Redis(connection_pool=pools[0]).info("memory")
    except _ERRORS:
        return "", KEEPS_ALL
    finally:
        for pool in pools:
            pool.disconnect()
    policy = memory.get("maxmemory_policy") if memory.get("maxmemory") else None
    return address_of(pools[0]), policy or KEEPS_ALL
