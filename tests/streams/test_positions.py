"""The schedule of the checks of positions."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest

from pm_realtime.exceptions import BackendError
from pm_realtime.streams import CheckTimings, PositionChecks
from tests.support.helpers import errors_of, eventually


class Hub:
    """The checked groups; ``failures`` checks fail."""

    def __init__(self, count):
        self.groups = [str(number) for number in range(count)]
        self.checked, self.begun, self.failures = [], 0, []

    async def check(self, groups):
        if self.failures:
            raise self.failures.pop()
        self.checked.append((time.monotonic(), list(groups)))

    async def begin(self):
        self.begun += 1

    def checked_groups(self):
        return [group for _, groups in self.checked for group in groups]


@asynccontextmanager
async def checking(hub, **timings):
    timings = CheckTimings(**{"retry_seconds": 0.01, "batch_size": 10, **timings})
    checks = PositionChecks(lambda: hub.groups, hub.check, hub.begin, timings)
    task = asyncio.create_task(checks.run())
    yield checks
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_checks_are_spread_over_the_period():
    hub = Hub(50)
    async with checking(hub, period_seconds=0.5):
        await eventually(lambda: len(hub.checked) >= 5)
    assert hub.checked_groups()[:50] == hub.groups
    moments = [moment for moment, _ in hub.checked]
    assert moments[4] - moments[0] > 0.25
    assert hub.begun == 1


async def test_all_are_checked_at_once_after_a_doubt():
    hub = Hub(1000)
    async with checking(hub, period_seconds=3600) as checks:
        await asyncio.sleep(0)
        checks.doubt()
        await eventually(lambda: len(hub.checked) >= 100)
        assert hub.checked_groups() == hub.groups
        assert hub.begun == 1
        checks.doubt()
        await eventually(lambda: len(hub.checked) >= 200)
        assert hub.begun == 2


async def test_late_event_loop_is_a_doubt():
    hub = Hub(1000)
    async with checking(hub, period_seconds=100, late_seconds=0.1):
        await asyncio.sleep(0.01)
        time.sleep(1.5)
        await eventually(lambda: len(hub.checked) >= 100)


@pytest.mark.parametrize("error", [BackendError("away"), ValueError("a bug")])
async def test_check_that_failed_is_repeated_for_all(error, caplog):
    hub = Hub(30)
    hub.failures = [error]
    async with checking(hub, period_seconds=0.1):
        await eventually(lambda: hub.begun)
        await eventually(lambda: hub.checked_groups()[:30] == hub.groups)
    assert len(errors_of(caplog)) == isinstance(error, ValueError)
    caplog.clear()


async def test_hub_without_groups_goes_on():
    hub = Hub(0)
    async with checking(hub, period_seconds=0.01):
        await eventually(lambda: len(hub.checked) >= 3)
