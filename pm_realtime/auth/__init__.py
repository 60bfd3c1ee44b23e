"""The identity of a connection, found at the handshake and rechecked from then on."""

# fmt: off
from pm_realtime.auth.authentication import authenticate, session_name
from pm_realtime.auth.database import (
    reading_primary, release_connections, run_in_pool, run_once_keeping_connections,
)
from pm_realtime.auth.identity import Identity, anonymous
from pm_realtime.auth.receivers import connect_receivers
from pm_realtime.auth.recheck import RecheckResult, recheck_identities
from pm_realtime.auth.rechecker import Rechecker, Subject, get_rechecker, set_rechecker
from pm_realtime.auth.sessions import Session, are_in_cookies
from pm_realtime.auth.users import find_users
from pm_realtime.auth.sessions import ENGINE_ERRORS, missing_part as missing_session_part
# fmt: on
