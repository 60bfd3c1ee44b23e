"""Streams that fail as those of Redis do."""

from pm_realtime.backends.memory_streams import MemoryStreams
from pm_realtime.exceptions import OutageError


class UnansweredStreams(MemoryStreams):
    """Lose the answer to the first message, and take none while ``is_away``."""

    is_answering = is_away = False

    async def publish(self, message):
        self._check()
        return self._answer(await super().publish(message))

    def publish_from_thread(self, message):
        self._check()
        return self._answer(super().publish_from_thread(message))

    def _check(self):
        if self.is_away:
            raise OutageError("the streams are away")

    def _answer(self, receipt):
        if self.is_answering:
            return receipt
        self.is_answering = True
        raise OutageError("the answer is lost")
