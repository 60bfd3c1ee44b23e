"""The stream of control messages for the hub of every process."""

import secrets
from typing import Final

from pm_realtime import layer
from pm_realtime.backends import StreamMessage
from pm_realtime.layer import ControlMessage

#: A hub that missed more than this has every connection recheck.
CONTROL_STREAM_SIZE: Final = 1000
CONTROL_STREAM_TTL_SECONDS: Final = 600.0
#: The time after an attempt to send a message in which another one does not send it twice.
CONTROL_KEY_TTL_SECONDS: Final = 60.0


def control_for(target: str, message: ControlMessage, key: str | None = None) -> StreamMessage:
    """``message`` for the members of the group ``target`` in every process.

    ``key`` is that of an earlier attempt.
    """
    group = layer.control_group()
    return StreamMessage(
        group,
        layer.control_text(layer.control_message(group, message, target=target)),
        None,
        CONTROL_STREAM_SIZE,
        CONTROL_STREAM_TTL_SECONDS,
        key or secrets.token_hex(8),
        CONTROL_KEY_TTL_SECONDS,
        is_control=True,
    )
