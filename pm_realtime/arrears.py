"""Orders that Redis did not take, sent again until it does.

Those who listen may notice nothing of a short outage, so they would look at nobody after it; and a
right that ended meanwhile would last until the next sweep.
"""

import threading
import time
from typing import Final

from pm_realtime import transport
from pm_realtime.forks import after_fork
from pm_realtime.layers import Message

#: Seconds between two tries.
PAUSE: Final = 1.0
#: Orders that are kept; of more, nobody knows which of them still matter.
MOST: Final = 1000


class Arrears:
    """Callable from any thread. ``instead`` is the order that stands for too many."""

    def __init__(self, instead: Message) -> None:
        self._instead = instead
        self._forget()
        after_fork(self._forget)

    def _forget(self) -> None:
        """What a forked child's parent owes, the parent sends."""
        self._lock = threading.Lock()
        self._owed: list[Message] = []
        self._is_at_work = False

    def owe(self, order: Message) -> None:
        """Send ``order`` as soon as Redis takes it, as long as this process lives."""
        with self._lock:
            if order not in self._owed:
                self._owed.append(order)
            if len(self._owed) > MOST:
                self._owed = [self._instead]
            if not self._is_at_work:
                self._is_at_work = True
                threading.Thread(target=self._work, name="pm_realtime-arrears", daemon=True).start()

    def _work(self) -> None:
        while self._is_at_work:
            time.sleep(PAUSE)
            self._send_all()

    def _send_all(self) -> None:
        while True:
            with self._lock:
                if not self._owed:
                    self._is_at_work = False
                    return
                order = self._owed[0]
            try:
                if not transport.is_alone():
                    transport.send(order["group"], order)
            except Exception:  # The log has that already.
                return
            with self._lock:
                if order in self._owed:
                    self._owed.remove(order)
