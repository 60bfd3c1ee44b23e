"""Streams that fail as those of Redis do."""

from pm_realtime.backends.memory_streams import MemoryStreams
from pm_realtime.exceptions import OutageError


class UnansweredStreams(MemoryStreams):
    """Take every message, and lose the answer to the first one."""

    is_answering = False

    async def publish(self, message):
        return self._answer(await super().publish(message))

    def publish_from_thread(self, message):
        return self._answer(super().publish_from_thread(message))

    def _answer(self, receipt):
        if self.is_answering:
            return receipt
        self.is_answering = True
        raise OutageError("the answer is lost")
