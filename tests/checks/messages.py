"""Layers of a site, and helpers for the messages of the checks."""

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY = "channels.layers.InMemoryChannelLayer"
URL = "redis://localhost:6379/0"

BAD_PATHS = ["no.such.module", "tests.site.rules.missing", "nodots", "a..b"]


def only(found, number):
    """The single message in ``found``, which must have this number."""
    assert [id for id, _ in found] == [number]
    return found[0][1]


def entry(**keys):
    return {"default": keys}


def layer(backend, **config):
    return entry(BACKEND=backend, CONFIG=config)


#: A layer without any message.
VALID_LAYER = layer(PUBSUB, hosts=["redis://localhost:6379"])
