"""A group of a hub: one for each name, kept while it has members or is in use."""

import pytest

from pm_realtime.layer.memberships import Groups
from tests.support.hubs import Member


@pytest.fixture
def groups():
    return Groups()


def test_name_is_the_same_group_while_it_is_in_use(groups):
    with groups.using("g") as outer:
        with groups.using("g") as inner, groups.using("h") as other:
            assert inner is outer
            assert other is not outer
        assert list(groups) == ["g"]
        with groups.using("g") as again:
            assert again is outer
    assert groups == {}


def test_group_stays_until_its_last_use_ends(groups):
    first, second = groups.using("g"), groups.using("g")
    group = first.__enter__()
    assert second.__enter__() is group
    first.__exit__(None, None, None)
    assert groups == {"g": group}
    second.__exit__(None, None, None)
    assert groups == {}


def test_group_stays_while_it_has_members(groups):
    with groups.using("g") as group:
        group.members["1"] = Member("1")
    assert groups == {"g": group}
    with groups.using("g") as again:
        assert again is group
        group.members.clear()
    assert groups == {}
    with groups.using("g") as new:
        assert new is not group


def test_group_goes_after_a_use_that_fails(groups):
    with pytest.raises(ConnectionError), groups.using("g"):
        raise ConnectionError
    assert groups == {}
