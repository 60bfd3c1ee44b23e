import pytest

from pm_realtime.schemas import PUSH_TYPES
from tests.contract import shop


@pytest.fixture
def site(declarations, configure):
    """A site that declares nothing, and then what the test declares."""
    found = dict(PUSH_TYPES)
    PUSH_TYPES.clear()
    configure(ROOMS={})
    yield
    PUSH_TYPES.clear()
    PUSH_TYPES.update(found)


@pytest.fixture
def shop_site(site, configure):
    """The site of tests/contract/shop.py."""
    configure(ROOMS=shop.ROOMS)
    shop.declare()
