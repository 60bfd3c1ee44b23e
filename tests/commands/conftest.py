import pytest

from pm_realtime.commands import DECLARATIONS


@pytest.fixture
def no_commands():
    """The site has no commands but those that the test declares."""
    before = dict(DECLARATIONS)
    DECLARATIONS.clear()
    yield
    DECLARATIONS.clear()
    DECLARATIONS.update(before)
