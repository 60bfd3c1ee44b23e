"""The user behind a connection, and whether that is still so."""

from pm_realtime.auth.database import run_in_pool
from pm_realtime.auth.identity import (
    Identity,
    Verdict,
    anonymous,
    authenticate,
    holder_of,
    session_name,
)
from pm_realtime.auth.receivers import connect_receivers
from pm_realtime.auth.rechecker import Subject, get_checker
from pm_realtime.auth.sessions import Session, renewed

__all__ = [
    "Identity",
    "Session",
    "Subject",
    "Verdict",
    "anonymous",
    "authenticate",
    "connect_receivers",
    "get_checker",
    "holder_of",
    "renewed",
    "run_in_pool",
    "session_name",
]
