"""The times and bounds of a connection that are no settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionTimings:
    """Only tests have a reason to choose others."""

    #: Monotonic seconds, for the rate of commands.
    clock: Callable[[], float] = time.monotonic
    #: A closing connection has so long to send the frames that wait; a frozen reader ends here.
    flush_seconds: float = 30.0
    #: A command that runs longer than this lets later frames be read.
    slow_command_seconds: float = 0.05
    #: Malformed frames that are let pass in one window of the rate: a mistake in a client's code
    #: sends them. All connections of an event loop that send more than a few share the number.
    max_malformed_frames: int = 20_000
    #: A session that is gone, or does not fit its user's new password, is read once more after
    #: this: ``update_session_auth_hash`` follows the saving of the user, and the session's own
    #: control message may come behind that of the user.
    second_look_seconds: float = 0.5
    #: A transaction that changes a user is waited for so long; one that is rolled back sends no
    #: control message.
    transaction_seconds: float = 1.0
    #: The response with a new session cookie may take so long.
    cookie_seconds: float = 10.0
    #: A new session cookie has reached the browser after this.
    cookie_delay_seconds: float = 1.0
