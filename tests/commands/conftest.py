import pytest

from pm_realtime import arefresh_user
from pm_realtime.commands import DECLARATIONS


@pytest.fixture
def no_commands():
    """The site has no commands but those that the test declares."""
    before = dict(DECLARATIONS)
    DECLARATIONS.clear()
    yield
    DECLARATIONS.clear()
    DECLARATIONS.update(before)


async def lose_role(user):
    """Make a ``master`` a user. Returns before that is known to the user's connections."""
    user.is_superuser = False
    await user.asave()
    await arefresh_user(user)
