"""Any text becomes a group name that every channel layer accepts."""

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
def test_name_that_layers_refuse_becomes_a_valid_group(kind, name):
    assert is_valid(kind(name))


def test_authenticated_group_is_valid():
    assert is_valid(authenticated_group())


@pytest.mark.parametrize("kind", KINDS)
@given(one=ANY_TEXT, other=ANY_TEXT)
def test_groups_differ_exactly_if_the_names_do(kind, one, other):
    assert (kind(one) == kind(other)) is (one == other)


@given(name=ANY_TEXT)
def test_name_is_a_different_group_for_each_kind(name):
    assert len({authenticated_group(), *(kind(name) for kind in KINDS)}) == len(KINDS) + 1


def test_group_is_the_same_in_every_process():
    assert room_group("support") == "pm_realtime.room.bfefc2b76020233212a122b6b74f9ec3"
