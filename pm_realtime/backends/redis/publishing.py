"""One call of the script that publishes a message: its keys, its arguments and its answer.

A pub/sub layer is not called at all. The message is serialized as the layer would do it, with two
texts where its cursors belong; the script, which alone knows them, puts them in and publishes.
"""

import secrets
from functools import cached_property
from typing import Any, Final, NamedTuple

from pm_realtime import layer
from pm_realtime.backends.streams import CURSOR_LENGTH, Receipt, StreamMessage
from pm_realtime.redis import Part

#: For how long Redis remembers a call without an idempotency key: it may be made a second time, if
#: its socket breaks or its answer does not come in time.
CALL_TTL_MS: Final = 10_000

#: Stand for the cursors. They are made for this process, so that no message of a site has them.
_CURSOR, _PREVIOUS = (secrets.token_hex(CURSOR_LENGTH // 2) for _ in range(2))
_CURSOR_BYTES, _PREVIOUS_BYTES = _CURSOR.encode(), _PREVIOUS.encode()
_NOT_PUBLISHED: Final = ("", b"", b"", b"")


class StreamKeys:
    """The names of the keys of streams. A group's name is that of one site and one database."""

    @cached_property
    def prefix(self) -> str:
        """The beginning of all keys. The braces keep those of a stream in one slot of a cluster."""
        prefix, tag = layer.layer_options().get("prefix", "asgi"), layer.namespace_tag()
        return f"pm_realtime:{{{prefix}:{tag}{':' if tag else ''}"

    def of(self, group: str) -> tuple[str, str]:
        """The log and the top."""
        key = f"{self.prefix}{group}}}:"
        return f"{key}log", f"{key}top"

    def of_call(self, message: StreamMessage) -> tuple[str, str, str]:
        """Those, and the key of the answer."""
        key = f"{self.prefix}{message.group}}}:"
        name = message.idempotency_key
        call = f"call:{secrets.token_hex(8)}" if name is None else f"key:{name}"
        return f"{key}log", f"{key}top", f"{key}{call}"


class PublishCall(NamedTuple):
    """``is_sent``: the script also sends the message to the group."""

    message: StreamMessage
    keys: tuple[str, str, str]
    arguments: tuple[Part, ...]
    is_sent: bool

    @classmethod
    def of(cls, message: StreamMessage, keys: StreamKeys) -> "PublishCall":
        has_key = message.idempotency_key is not None
        channel, before, between, after = _channel_and_pieces(message)
        arguments: tuple[Part, ...] = (
            message.text,
            message.exclude or "",
            message.size,
            to_ms(message.ttl_seconds),
            to_ms(message.key_ttl_seconds) if has_key else CALL_TTL_MS,
            channel,
            before,
            between,
            after,
        )
        return cls(message, keys.of_call(message), arguments, bool(channel))

    def read(self, answer: Any) -> tuple[Receipt, layer.Message | None]:
        """The receipt in ``answer``, and what is still to be sent to the group.

        Another call with the same key, which has appended the message, may have ended before it
        sent it. So what it appended is sent again. Hubs drop what they had.
        """
        if not isinstance(answer, list):
            return Receipt(_text(answer) or None), None
        message = self.message
        cursor, previous = _text(answer[0]) or None, _text(answer[1]) or None
        is_repeated = bool(answer[2])
        receipt = Receipt(cursor, is_repeated and message.idempotency_key is not None)
        if self.is_sent or (is_repeated and len(answer) == 3):
            return receipt, None
        if is_repeated:
            message = message._replace(text=_text(answer[3]), exclude=_text(answer[4]) or None)
        return receipt, layer_message(message, cursor, previous)


def _channel_and_pieces(message: StreamMessage) -> tuple[str, bytes, bytes, bytes]:
    """The channel of Redis, and three pieces between which the cursors go.

    The channel is empty if only the layer can send.
    """
    cursors = (_CURSOR, _PREVIOUS) if message.size else (None, None)
    adapter = layer.adapter_for(layer.get_layer())
    found = adapter.publication(message.group, layer_message(message, *cursors))
    if found is None:
        return _NOT_PUBLISHED
    channel, text = found
    if not message.size:
        return channel, text, b"", b""
    before, cursor, rest = text.partition(_CURSOR_BYTES)
    between, previous, after = rest.partition(_PREVIOUS_BYTES)
    is_clear = cursor and previous and _CURSOR_BYTES not in rest and _PREVIOUS_BYTES not in after
    return (channel, before, between, after) if is_clear else _NOT_PUBLISHED


def layer_message(
    message: StreamMessage, cursor: str | None = None, previous: str | None = None
) -> layer.Message:
    """``message`` as it travels in the channel layer."""
    return layer.stream_message(
        message.group,
        message.text,
        message.exclude,
        is_control=message.is_control,
        is_volatile=message.is_volatile,
        cursor=cursor,
        previous=previous,
    )


def to_ms(seconds: float) -> int:
    """``seconds`` for a script, which takes no expiry of 0."""
    return max(1, round(seconds * 1000))


def _text(part: Any) -> str:
    """A text of an answer, whether the client decodes or not."""
    return part if isinstance(part, str) else part.decode()
