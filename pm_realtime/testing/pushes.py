"""A record of pushes."""

from collections import UserList
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from channels.layers import BaseChannelLayer, channel_layers
from msgspec.json import decode

from pm_realtime.backends import MemoryStreams, Receipt, StreamMessage
from pm_realtime.conf import conf
from pm_realtime.layer import (
    authenticated_group,
    group_of_push,
    role_group,
    room_group,
    user_group,
)
from pm_realtime.protocol import Envelope
from pm_realtime.push import capture_in, deliver_committed, user_key


class Pushes(UserList[Envelope], list[Envelope]):  # type: ignore[misc]
    """The pushed envelopes in order, and the ones for one target."""

    def __init__(self, envelopes: Iterable[Envelope] = ()) -> None:
        self._envelopes = list(envelopes)
        self._recorded: list[tuple[str, Envelope]] = []

    @property
    def data(self) -> list[Envelope]:  # type: ignore[override]
        """The envelopes so far, with those of the blocks that a ``TestCase`` has left."""
        deliver_committed()
        return self._envelopes

    def to_user(self, user: Any) -> list[Envelope]:
        return self._to(user_group(user_key(user)))

    def to_room(self, room: str) -> list[Envelope]:
        return self._to(room_group(room))

    def to_role(self, role: str) -> list[Envelope]:
        return self._to(role_group(role))

    def to_all(self) -> list[Envelope]:
        """The envelopes of ``broadcast``."""
        return self._to(authenticated_group())

    def record(self, group: str, text: str) -> None:
        envelope = decode(text, type=Envelope)
        self._envelopes.append(envelope)
        self._recorded.append((group, envelope))

    def _to(self, group: str) -> list[Envelope]:
        kept = set(map(id, self.data))  # A test may have cleared some.
        return [each for to, each in self._recorded if to == group and id(each) in kept]

    def __copy__(self) -> Self:
        return self.copy()

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        # A TestCase makes deep copies of what `setUpTestData` keeps.
        return Pushes, (), self.__dict__


class _RecordingStreams(MemoryStreams):
    """Streams of a block of a test, which record pushes and deliver nothing."""

    def __init__(self, pushes: Pushes) -> None:
        super().__init__(is_only_process=True)
        self._pushes = pushes

    async def publish(self, message: StreamMessage) -> Receipt:
        return self.publish_from_thread(message)

    def publish_from_thread(self, message: StreamMessage) -> Receipt:
        receipt, _ = self.append(message)
        if not (receipt.is_repeated or message.is_control):
            self._pushes.record(message.group, message.text)
        return receipt


class _RecordingLayer(BaseChannelLayer):
    """A channel layer that records pushes and delivers nothing."""

    def __init__(self, pushes: Pushes) -> None:
        super().__init__()
        self.pushes = pushes

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if group_of_push(message) is not None:
            self.pushes.record(group, message["text"])


@contextmanager
def capture_pushes() -> Iterator[Pushes]:
    """Record the pushes of the block instead of sending them.

    A push under a repeated ``idempotency_key`` is recorded once. :func:`~pm_realtime.get_history`
    has the pushes of the block.

    A push in ``transaction.atomic()`` is recorded once the block has ended, and not at all after a
    rollback. In a ``TestCase``, and with the ``db`` fixture of pytest-django, the transaction of
    the test itself does not count.
    """
    deliver_committed()
    pushes = Pushes()
    alias = conf.CHANNEL_LAYER
    replaced = channel_layers.set(alias, _RecordingLayer(pushes))
    streams = capture_in(_RecordingStreams(pushes))
    try:
        yield pushes
        len(pushes)  # Those that still wait would go to the real layer.
    finally:
        capture_in(streams)
        if replaced is None:
            channel_layers.backends.pop(alias, None)
        else:
            channel_layers.set(alias, replaced)
