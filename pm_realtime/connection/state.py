"""The states of a connection."""

import enum


class State(enum.IntEnum):
    """A connection goes through these upward, and may leave some out."""

    #: The handshake has no answer yet.
    HANDSHAKE = 1
    #: The handshake was accepted.
    ACCEPTED = 2
    #: ``connected`` was sent.
    OPEN = 3
    #: Server or client have asked for the end.
    CLOSING = 4
    #: The socket of an open connection broke: its client may resume.
    DROPPED = 5
    #: Nothing more is done for the connection.
    CLOSED = 6
