"""Any text becomes a group name that every channel layer accepts."""

from enum import StrEnum

import pytest
from channels.layers import BaseChannelLayer
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from pm_realtime.layer import (
    CORE_LAYER,
    PUBSUB_LAYER,
    authenticated_group,
    connection_group,
    control_group,
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


# Names of sites that share a Redis


def names():
    """The groups of each kind, for one and the same name."""
    return {authenticated_group(), control_group(), *(kind("1") for kind in KINDS)}


def use(settings, *hosts, layer=PUBSUB_LAYER, **keys):
    config = {"BACKEND": layer, "CONFIG": {"hosts": list(hosts)}}
    settings.CHANNEL_LAYERS = {"default": config}
    settings.PM_REALTIME = keys
    return names()


@pytest.fixture
def plain(settings):
    """The names of a site in memory, which are those of version 0.1."""
    settings.CHANNEL_LAYERS, settings.PM_REALTIME = {}, {}
    found = names()
    assert "pm_realtime.authenticated" in found
    assert "pm_realtime.orders" in found
    return found


IN_DATABASE_0 = [
    "redis://one",
    "redis://one/0",
    "redis://one/",
    "redis://one?db=0",
    "unix:///run/redis.sock",
    ("one", 6379),
    {"host": "one"},
    {"address": "redis://one", "db": 0},
    {"sentinels": [("one", 26379)], "master_name": "main"},
]
IN_DATABASE_1 = [
    "redis://one/1",
    "rediss://user:secret@one:6380/1?ssl_cert_reqs=none",
    "redis://one?db=1",
    "unix:///run/redis.sock?db=1",
    {"host": "one", "db": 1},
    {"host": "one", "db": "1"},
    {"address": "redis://one", "db": 1},
    {"address": "redis://one/1", "db": 2},  # The URL comes first, as in redis-py.
    {"sentinels": [("one", 26379)], "master_name": "main", "db": 1},
]


@pytest.mark.parametrize("host", IN_DATABASE_0, ids=str)
def test_database_0_keeps_the_names_of_version_0_1(settings, plain, host):
    assert use(settings, host) == plain
    assert use(settings) == plain


@pytest.mark.parametrize("host", IN_DATABASE_1, ids=str)
def test_another_database_has_names_of_its_own(settings, plain, host):
    found = use(settings, host)
    assert not found & plain
    assert all(map(is_valid, found))
    assert found == use(settings, "redis://one/1")
    assert not found & use(settings, "redis://one/2")


def test_databases_of_all_hosts_count(settings, plain):
    both = use(settings, "redis://one/0", "redis://two/1")
    assert not both & plain
    assert not both & use(settings, "redis://one/1", "redis://two/0")


def test_core_layer_keeps_databases_apart_itself(settings, plain):
    assert use(settings, "redis://one/1", layer=CORE_LAYER) == plain
    assert not use(settings, "redis://one/1", layer=CORE_LAYER, NAMESPACE="shop") & plain


@pytest.mark.parametrize("namespace", ["shop", " ", "{é}:*", "x" * 1000, "\ud800", "0", "1"])
def test_namespace_has_names_of_its_own(settings, plain, namespace):
    found = use(settings, "redis://one", NAMESPACE=namespace)
    assert not found & plain
    assert all(map(is_valid, found))
    assert found == use(settings, "redis://another", NAMESPACE=namespace)
    assert not found & use(settings, "redis://one/1", NAMESPACE=namespace)
    assert not found & use(settings, "redis://one/1")
    assert not found & use(settings, "redis://one", NAMESPACE=f"{namespace}2")


def test_text_of_any_class_is_the_same_namespace(settings):
    class Site(StrEnum):
        SHOP = "shop"

    text = use(settings, NAMESPACE="shop")
    assert use(settings, NAMESPACE=Site.SHOP) == use(settings, NAMESPACE=mark_safe("shop")) == text


def test_hosts_that_cannot_be_read_have_the_plain_names(settings, plain):
    assert use(settings, {"bogus": 1}) == plain
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": PUBSUB_LAYER, "CONFIG": ["x"]}}
    assert names() == plain
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "no.such.layer"}}
    assert names() == plain
