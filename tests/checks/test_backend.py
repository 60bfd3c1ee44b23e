"""Checks of ``BACKEND`` and ``LOCATION``."""

import pytest
from channels.layers import InMemoryChannelLayer

from pm_realtime.backends import Backend
from tests.checks.messages import (
    CORE,
    PUBSUB,
    URL,
    VALID_LAYER,
    layer,
    only,
)
from tests.support.far_layer import FarLayer


class NoBackend:
    """Something that imports and can be made, and is no backend."""


class OwnBackend(Backend):
    """A backend of the site, which may be shared."""


OwnBackend.__abstractmethods__ = frozenset()


class OwnMemory(InMemoryChannelLayer):
    pass


class FarLayerOfASite(FarLayer):
    pass


def make_far_layer():
    return FarLayer()


def broken_backend():
    raise OSError("nobody at home")


@pytest.mark.parametrize(
    "path",
    [
        "no.such.Backend",
        "pm_realtime.backends.memory.Missing",
        "tests.checks.test_backend.broken_backend",
        "tests.checks.messages.URL",
        "tests.checks.test_backend.NoBackend",
    ],
)
def test_e013_backend_cannot_be_made_or_is_not_a_backend(check, path):
    message = only(check({"BACKEND": path}), "E013")
    assert message.msg.startswith(f'PM_REALTIME["BACKEND"]: {path!r}')


def test_w007_location_with_the_state_in_memory(check):
    message = only(check({"LOCATION": URL}, CHANNEL_LAYERS={}), "W007")
    assert PUBSUB in message.hint
    assert "RedisBackend" in message.hint


@pytest.mark.parametrize("more", [{}, {"BACKEND": "pm_realtime.backends.redis.RedisBackend"}])
def test_location_in_use_gets_no_message(check, more):
    layers = {} if more else layer(PUBSUB, hosts=["redis://localhost:1"])
    assert check({"LOCATION": URL, **more}, CHANNEL_LAYERS=layers) == []


HOSTS = 'CHANNEL_LAYERS["default"]["CONFIG"]["hosts"]'


SECRET = "s3cret"


@pytest.mark.parametrize(
    ("hosts", "where", "found"),
    [
        ([URL, "nonsense"], "[1]", "'nonsense'"),
        ([URL, URL, "http://host"], "[2]", "'http://host'"),
        ([6379], "[0]", "6379 (int)"),
        ([None], "[0]", "None (NoneType)"),
        ([b"redis://localhost"], "[0]", "(bytes)"),
        ([("host",)], "[0]", "1 of the two"),
        ([("host", "abc")], "[0]", "'abc'"),
        ([("host", None)], "[0]", "None"),
        ([{"bogus": 1}], "[0]", "'bogus'"),
        ([{"address": 5}], "[0]", "5 (int)"),
        ([{"master_name": "main"}], "[0]", "'sentinels' is missing"),
        ([{"master_name": "main", "sentinels": 5}], "[0]", "'sentinels'"),
        ([f"{URL}?bogus=1"], "[0]", "'bogus'"),
        ([f"{URL}?db=x"], "[0]", "Invalid value for"),
        ([f"redis://:{SECRET}/x@host:1"], "[0]", "its port is no number"),
        ([f"redis://:{SECRET}"], "[0]", "its port is no number"),
        ([f"redis//:{SECRET}@host:1"], "[0]", "***@host:1"),
        ([f"redis://[?password={SECRET}"], "[0]", "password=***"),
        ([{"address": URL, "password": SECRET, "bogus": 1}], "[0]", "'bogus'"),
        ("redis://localhost", "", "str"),
        (("127.0.0.1", 6379), "", "one pair"),
        (["127.0.0.1", 6379], "", "one pair"),
        ({"address": URL}, "", "dict"),
        (6379, "", "int"),
    ],
    ids=str,
)
@pytest.mark.parametrize("more", [{}, {"LOCATION": URL}], ids=["", "LOCATION"])
def test_e016_invalid_hosts(check, more, hosts, where, found):
    layers = {path: layer(path, capacity=1000, hosts=hosts) for path in (CORE, PUBSUB)}
    of_core = [id for id, _ in check(more, CHANNEL_LAYERS=layers[CORE])]
    assert [id for id in of_core if id != "W004"] == ["E016"]
    message = only(check(more, CHANNEL_LAYERS=layers[PUBSUB]), "E016")
    assert message.msg.startswith(f"{HOSTS}{where}: ")
    assert found in message.msg
    assert "LOCATION" not in message.msg + message.hint
    assert SECRET not in message.msg + message.hint
    assert '"redis://localhost:6379/0"' in message.hint


def test_e016_every_invalid_host_has_a_message(check):
    found = check({}, CHANNEL_LAYERS=layer(PUBSUB, hosts=["a", URL, "b"]))
    assert [message.msg.partition(":")[0] for _, message in found] == [f"{HOSTS}[0]", f"{HOSTS}[2]"]


def test_e016_invalid_hosts_with_the_state_in_memory(check):
    path = "pm_realtime.backends.memory.MemoryBackend"
    found = check({"BACKEND": path}, CHANNEL_LAYERS=layer(PUBSUB, hosts=["nonsense"]))
    assert [id for id, _ in found] == ["E016", "W009"]


@pytest.mark.parametrize("location", ["nonsense", f"redis://:{SECRET}/@h:1", "redis://h?bogus=1"])
def test_e016_invalid_location(check, location):
    message = only(check({"LOCATION": location}), "E016")
    assert message.msg.startswith('PM_REALTIME["LOCATION"]: ')
    assert SECRET not in message.msg
    assert "LOCATION" in message.hint


def test_w009_state_in_memory_with_a_redis_layer(check):
    path = "pm_realtime.backends.memory.MemoryBackend"
    message = only(check({"BACKEND": path}), "W009")
    assert "in each process by itself" in message.msg
    assert "nothing is kept" in message.msg
    assert check({"BACKEND": path}, CHANNEL_LAYERS={}) == []


FAR = "tests.support.far_layer.FarLayer"


@pytest.mark.parametrize("path", [FAR, f"{__name__}.make_far_layer", f"{__name__}.FarLayerOfASite"])
def test_w024_state_in_memory_with_a_layer_of_another_kind(check, path):
    message = only(check({}, CHANNEL_LAYERS=layer(path)), "W024")
    assert f"{path!r}" in message.msg
    assert "in each process by itself" in message.msg
    assert "nothing is kept" in message.msg
    assert "LOCATION" in message.hint
    assert "RedisBackend" in message.hint


def test_w024_is_about_the_layer_that_is_in_use(check):
    layers = {**layer(FAR), "realtime": VALID_LAYER["default"]}
    assert check({"CHANNEL_LAYER": "realtime"}, CHANNEL_LAYERS=layers) == []


@pytest.mark.parametrize(
    "keys",
    [
        {"BACKEND": "pm_realtime.backends.redis.RedisBackend", "LOCATION": URL},
        {"BACKEND": f"{__name__}.OwnBackend"},
    ],
    ids=str,
)
def test_state_that_processes_share_fits_every_layer(check, keys):
    assert "W024" not in dict(check(keys, CHANNEL_LAYERS=layer(FAR)))


@pytest.mark.parametrize("path", ["channels.layers.InMemoryChannelLayer", f"{__name__}.OwnMemory"])
def test_layer_in_memory_needs_no_shared_state(check, path):
    assert "W024" not in dict(check({}, CHANNEL_LAYERS=layer(path, capacity=1000)))


def test_layer_that_cannot_be_made_is_reported_once(check):
    only(check({}, CHANNEL_LAYERS=layer("no.such.Layer")), "E017")


def test_w007_names_the_backend_setting_as_the_reason(check):
    path = "pm_realtime.backends.memory.MemoryBackend"
    found = dict(check({"BACKEND": path, "LOCATION": URL}))
    assert sorted(found) == ["W007", "W009"]
    assert "because BACKEND says so" in found["W007"].msg
