"""The regular work of a hub for all its connections."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from django.core.exceptions import ImproperlyConfigured

from pm_realtime.conf import conf
from pm_realtime.hub.members import Member
from pm_realtime.hub.missed import MissedMessages
from pm_realtime.hub.registry import Registry
from pm_realtime.layer import ProcessChannel

logger = logging.getLogger("pm_realtime.push")


async def sweep_forever(
    registry: Registry,
    channel: ProcessChannel,
    missed: MissedMessages,
    remove: Callable[[Member], Awaitable[None]],
) -> None:
    """Check heartbeats, renew groups in the layer and drop old messages, until cancelled.

    ``remove`` removes a member from the hub.
    """
    removing: asyncio.Task[None] | None = None

    async def remove_expired() -> None:
        for member in missed.expired():
            await remove(member)

    while True:
        await asyncio.sleep(_interval_seconds())
        channel.restart_receiver()
        try:
            now = time.monotonic()
            for member in registry:
                member.check_heartbeat(now - _silence_seconds())
            missed.sweep(now)
            if (removing is None or removing.done()) and any(missed.expired()):
                # In a task of its own: with the last member the hub stops, and this sweep too.
                removing = asyncio.get_running_loop().create_task(remove_expired())
            await channel.renew()
        except Exception:
            logger.exception("Heartbeats could not be checked or groups not be renewed.")


def _silence_seconds() -> float:
    """The time for which a client that sends pings may be silent."""
    return conf.HEARTBEAT_INTERVAL + conf.HEARTBEAT_TIMEOUT


def _interval_seconds() -> float:
    """The time between two sweeps, short enough for the short heartbeats of tests."""
    try:
        return max(0.02, min(1.0, _silence_seconds() / 8))
    except ImproperlyConfigured:
        return 1.0
