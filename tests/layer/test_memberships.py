"""The groups of a hub: one of a name at a time, kept while anybody needs it."""

import pytest

from pm_realtime.layer.memberships import Groups
from tests.support.hubs import Member


@pytest.fixture
def groups():
    return Groups()


def test_a_name_stands_for_the_same_group_while_it_is_used(groups):
    with groups.using("g") as outer:
        with groups.using("g") as inner, groups.using("h") as other:
            assert inner is outer
            assert other is not outer
        assert list(groups) == ["g"]
        with groups.using("g") as again:
            assert again is outer
    assert groups == {}


def test_the_first_of_two_to_end_leaves_the_group_to_the_other(groups):
    first, second = groups.using("g"), groups.using("g")
    group = first.__enter__()
    assert second.__enter__() is group
    first.__exit__(None, None, None)
    assert groups == {"g": group}
    second.__exit__(None, None, None)
    assert groups == {}


def test_a_group_stays_while_it_has_members_and_goes_with_the_next_use_after_the_last(groups):
    with groups.using("g") as group:
        group.members["1"] = Member("1")
    assert groups == {"g": group}
    with groups.using("g") as again:
        assert again is group
        group.members.clear()
    assert groups == {}
    with groups.using("g") as new:
        assert new is not group


def test_a_group_goes_also_where_the_use_of_it_fails(groups):
    with pytest.raises(ConnectionError), groups.using("g"):
        raise ConnectionError
    assert groups == {}
