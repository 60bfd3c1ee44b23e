import pytest

from tests.support.helpers import Clock


@pytest.fixture
def clock():
    """The clock of a store in memory, in seconds since the epoch."""
    clock = Clock()
    clock.now = 1_764_520_000.0
    return clock


@pytest.fixture
def pass_time(clock):
    async def pass_time(seconds):
        clock.now += seconds

    return pass_time
