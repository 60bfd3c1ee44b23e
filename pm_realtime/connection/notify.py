"""The events of a connection: a log line and one of :mod:`pm_realtime.signals` for each."""

from typing import Any, Protocol

from django.dispatch import Signal

from pm_realtime.auth import Identity
from pm_realtime.observability import log_event
from pm_realtime.rooms import run_site_code


class Sender(Protocol):
    connection_id: str
    identity: Identity


async def notify(sender: Sender, signal: Signal, arguments: dict[str, Any]) -> None:
    """Log an event of ``sender`` and send its ``signal``. Django logs a receiver that raises."""
    identity = sender.identity
    log_event(signal, sender.connection_id, identity.user_id, identity.role, arguments)
    if signal.has_listeners(type(sender)):
        await run_site_code(
            signal.asend_robust,
            sender=type(sender),
            connection_id=sender.connection_id,
            user=identity.user,
            **arguments,
        )
