"""Control messages that Redis did not take, sent again until it does.

A short outage may go unnoticed in other processes, so that they recheck nobody after it. A right
that ended meanwhile would then last until the next sweep.
"""

import threading
import time
from typing import Final

from pm_realtime.concurrency import after_fork
from pm_realtime.layer import Message, is_alone
from pm_realtime.layer import send as send_to_layer

RETRY_INTERVAL_SECONDS: Final = 1.0
#: Of more messages than these it is not known which still matter.
MAX_WAITING_MESSAGES: Final = 1000


class RetryQueue:
    """Sends messages to ``group``. Callable from any thread.

    ``instead`` takes the place of all messages if more than ``max_messages`` wait. There are
    ``interval`` seconds between two attempts.
    """

    def __init__(
        self,
        group: str,
        instead: Message,
        *,
        interval: float = RETRY_INTERVAL_SECONDS,
        max_messages: int = MAX_WAITING_MESSAGES,
    ) -> None:
        self._group = group
        self._instead = instead
        self._interval = interval
        self._max_messages = max_messages
        self._forget()
        after_fork(self._forget)

    def __len__(self) -> int:
        return len(self._waiting)

    def _forget(self) -> None:
        """The parent of a forked child sends its messages itself."""
        self._lock = threading.Lock()
        self._waiting: list[Message] = []
        self._is_running = False

    def add(self, message: Message) -> None:
        """Send ``message`` as soon as Redis takes it, as long as this process lives."""
        with self._lock:
            if message not in self._waiting:
                self._waiting.append(message)
            if len(self._waiting) > self._max_messages:
                self._waiting = [self._instead]
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="pm_realtime-retry", daemon=True).start()

    def _run(self) -> None:
        while self._is_running:
            time.sleep(self._interval)
            self._send_all()

    def _send_all(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_running = False
                    return
                message = self._waiting[0]
            try:
                if not is_alone():
                    send_to_layer(self._group, message)
            except Exception:  # The log has it already.
                return
            with self._lock:
                if message in self._waiting:
                    self._waiting.remove(message)
