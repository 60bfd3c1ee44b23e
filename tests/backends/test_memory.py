"""The memory backend keeps the contract."""

import asyncio

import pytest

from pm_realtime.backends.memory import MemoryBackend
from tests.contracts.backend import BackendContract


class TestMemoryBackend(BackendContract):
    @pytest.fixture
    def backend(self):
        return MemoryBackend()

    def test_run_refuses_a_coroutine_that_waits(self, backend):
        with pytest.raises(RuntimeError, match="waited"):
            backend.run(asyncio.sleep(0))
