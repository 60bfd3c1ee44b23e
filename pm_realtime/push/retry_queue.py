"""Control messages that Redis did not take, sent again until it does.

A short outage may go unnoticed in other processes, which then recheck no connection after it. A
right that ended in the meantime would last until the next regular recheck.
"""

import threading
import time
from contextlib import suppress
from typing import Final

from pm_realtime import layer
from pm_realtime.backends import StreamMessage
from pm_realtime.concurrency import after_fork
from pm_realtime.push.control_stream import control_for
from pm_realtime.push.streams import push_streams

RETRY_INTERVAL_SECONDS: Final = 1.0
MAX_RETRY_MESSAGES: Final = 1000


class RetryQueue:
    """Control messages that wait for Redis. Callable from any thread.

    If more than ``max_messages`` wait, a recheck of every connection replaces them.
    """

    def __init__(
        self,
        *,
        interval_seconds: float = RETRY_INTERVAL_SECONDS,
        max_messages: int = MAX_RETRY_MESSAGES,
    ) -> None:
        self._interval_seconds = interval_seconds
        self._max_messages = max_messages
        self._reset()
        after_fork(self._reset)

    def __len__(self) -> int:
        return len(self._waiting)

    def _reset(self) -> None:
        """Forget the messages in a forked child: its parent sends them."""
        self._lock = threading.Lock()
        self._waiting: list[StreamMessage] = []
        self._is_running = False

    def add(self, message: StreamMessage) -> None:
        """Send ``message`` as soon as Redis takes it, as long as this process lives."""
        with self._lock:
            # Not the earlier one of two alike: its key says that it was sent, if only its answer
            # was lost.
            self._waiting = [each for each in self._waiting if each.text != message.text]
            self._waiting.append(message)
            if len(self._waiting) > self._max_messages:
                self._waiting = [control_for(layer.authenticated_group(), layer.Recheck())]
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="pm_realtime-retry", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self._interval_seconds)
            with suppress(Exception):  # The layer has logged it.
                for message in self._waiting.copy():
                    if not layer.is_alone():
                        push_streams().publish_from_thread(message)
                    with self._lock, suppress(ValueError):
                        self._waiting.remove(message)
            with self._lock:
                if not self._waiting:
                    self._is_running = False
                    return


retry_queue: Final = RetryQueue()
