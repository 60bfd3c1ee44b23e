import pytest
from channels.layers import channel_layers


@pytest.fixture
def use(settings):
    """Have a layer on these hosts, and rooms that are open to everybody."""

    def use(layer, *hosts):
        config = {"BACKEND": layer, "CONFIG": {"hosts": list(hosts)}}
        settings.CHANNEL_LAYERS = {"default": config}
        settings.PM_REALTIME = {"DEFAULT_ROOM": {"public": True}}

    yield use
    channel_layers.backends.clear()
