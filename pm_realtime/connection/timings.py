"""The times and bounds of a connection that are no settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionTimings:
    """Only tests have a reason to choose others."""

    #: Monotonic seconds, for the rate of commands.
    clock: Callable[[], float] = time.monotonic
    #: For a closing connection to send the frames that wait; a frozen reader ends here.
    flush_seconds: float = 10.0
    #: For a client that takes nothing of what is to be sent to it, not even the first byte.
    unread_seconds: float = 30.0
    #: After its end, for the client to close its socket.
    linger_seconds: float = 5.0
    #: Frames that no limit of messages counts, in a window: control frames and small fragments.
    #: Clients send a few a minute.
    max_uncounted_frames: int = 200
    frame_window_seconds: float = 10.0
    #: After this, later frames are read while a command runs.
    slow_command_seconds: float = 0.05
    #: Malformed frames that pass in one window of the rate, for all connections of an event loop
    #: that send more than a few. A mistake in a client's code sends them.
    max_malformed_frames: int = 20_000
    #: After this, a session that seems to have ended is read once more:
    #: ``update_session_auth_hash`` follows the saving of the user.
    second_look_seconds: float = 0.5
    #: For a transaction that changes a user; one that is rolled back sends no control message.
    transaction_seconds: float = 1.0
    #: For the response with a new session cookie.
    cookie_seconds: float = 10.0
    #: A new session cookie has reached the browser after this.
    cookie_delay_seconds: float = 1.0
