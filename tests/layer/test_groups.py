"""Group names: any text becomes one that every channel layer takes."""

import pytest
from channels.layers import BaseChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from pm_realtime.layer import (
    authenticated_group,
    connection_group,
    role_group,
    room_group,
    user_group,
)

KINDS = [room_group, user_group, role_group, connection_group]
ANY_TEXT = st.text(alphabet=st.characters())


def is_valid(group):
    return BaseChannelLayer().require_valid_group_name(group) and len(group) < 100


@pytest.mark.parametrize("kind", KINDS)
@given(name=ANY_TEXT)
def test_any_name_becomes_a_valid_group(kind, name):
    assert is_valid(kind(name))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["", "project:123", "with space", "é", "😀" * 200, "\ud800", "a\n"]
)
def test_names_that_layers_refuse_become_valid_groups(kind, name):
    assert is_valid(kind(name))


def test_the_group_of_everybody_logged_in_is_valid():
    assert is_valid(authenticated_group())


@pytest.mark.parametrize("kind", KINDS)
@given(one=ANY_TEXT, other=ANY_TEXT)
def test_different_names_are_different_groups_and_the_same_name_is_the_same(kind, one, other):
    assert (kind(one) == kind(other)) is (one == other)


@given(name=ANY_TEXT)
def test_one_name_is_a_different_group_for_each_kind(name):
    assert len({authenticated_group(), *(kind(name) for kind in KINDS)}) == len(KINDS) + 1


def test_a_group_is_the_same_in_every_process():
    assert room_group("support") == "pm_realtime.room.bfefc2b76020233212a122b6b74f9ec3"
