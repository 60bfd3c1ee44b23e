"""Checks of the settings of streams."""

from collections.abc import Iterator, Mapping, Set
from typing import Any, Final

from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning

from pm_realtime import backends
from pm_realtime.conf import conf

_SIZES: Final = frozenset(
    ("RECOVERY_PERIOD", "RECOVERY_SIZE", "HISTORY_MAX_BYTES", "BACKEND", "CHANNEL_LAYER")
)
#: The least text of a message: an envelope with its type, its timestamp and its room.
_BYTES_PER_TEXT: Final = 80


def check_streams(broken: Set[str]) -> Iterator[CheckMessage]:
    """Check settings of streams that contradict each other; ``broken`` ones are left out."""
    if not {"RECOVERY_PERIOD", "HEARTBEAT_INTERVAL", "HEARTBEAT_TIMEOUT"} & broken:
        yield from _check_period("RECOVERY_PERIOD", "what was pushed meanwhile is lost")
    if not {"IDEMPOTENCY_PERIOD", "HEARTBEAT_INTERVAL", "HEARTBEAT_TIMEOUT"} & broken:
        yield from _check_period("IDEMPOTENCY_PERIOD", "it cannot repeat what was not answered")
    if not _SIZES & broken:
        yield from _check_sizes()


def _check_period(name: str, effect: str) -> Iterator[CheckMessage]:
    period: float = getattr(conf, name)
    silence = conf.HEARTBEAT_INTERVAL + conf.HEARTBEAT_TIMEOUT
    if 0 < period < silence:
        yield CheckWarning(
            f'PM_REALTIME["{name}"] is {period:g} s, but a client notices a dead network after up '
            f"to {silence:g} s (HEARTBEAT_INTERVAL and HEARTBEAT_TIMEOUT together); then {effect}.",
            hint=f"Set {name} to {silence:g} or more, or have shorter heartbeats.",
            id="pm_realtime.W029",
        )


def _check_sizes() -> Iterator[CheckMessage]:
    for where, options in _all_options():
        history, ttl = options.get("history"), options.get("history_ttl")
        if history is None:
            continue
        if history and not conf.RECOVERY_PERIOD and ttl is None:
            yield CheckWarning(
                f"{where}['history'] has no effect: RECOVERY_PERIOD is 0, and the room has no "
                "history_ttl, so its messages are kept for 0 s.",
                hint="Add 'history_ttl', in seconds, or leave 'history' out.",
                id="pm_realtime.W030",
            )
        elif _is_too_large(history):
            yield _warn_of_size(f"{where}['history']", history)
    if conf.RECOVERY_PERIOD and _is_too_large(conf.RECOVERY_SIZE):
        yield _warn_of_size('PM_REALTIME["RECOVERY_SIZE"]', conf.RECOVERY_SIZE)


def _all_options() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The valid options of streams in ``ROOMS`` and ``DEFAULT_ROOM``, and their settings."""
    given = conf.user_settings
    rooms = given.get("ROOMS", {})
    found = [
        *(
            (f'PM_REALTIME["ROOMS"][{name!r}]', options)
            for name, options in (rooms.items() if isinstance(rooms, Mapping) else ())
        ),
        ('PM_REALTIME["DEFAULT_ROOM"]', given.get("DEFAULT_ROOM", {})),
    ]
    for where, options in found:
        if isinstance(options, Mapping) and type(options.get("history")) in (int, type(None)):
            yield where, options


def _is_too_large(messages: int) -> bool:
    is_in_memory = backends.backend_path() == backends.MEMORY
    return is_in_memory and messages > _capacity()


def _capacity() -> int:
    """The number of messages, all of them nearly empty, that fit into ``HISTORY_MAX_BYTES``."""
    return conf.HISTORY_MAX_BYTES // (backends.BYTES_PER_MESSAGE + _BYTES_PER_TEXT)


def _warn_of_size(where: str, messages: int) -> CheckMessage:
    return CheckWarning(
        f"{where} is {messages:,} messages, but HISTORY_MAX_BYTES, which is for all streams of the "
        f"process together, holds {_capacity():,} of the smallest ones.",
        hint="Raise HISTORY_MAX_BYTES (a short message takes about 400 bytes), or keep fewer.",
        id="pm_realtime.W031",
    )
