"""What channels-redis says of an outage, which this package already says in two lines."""

import logging
from typing import Final

from pm_realtime.observability import LAYER, outage
from pm_realtime.redis import is_lost_connection

#: Stands in the outages for the subscriptions of the layer, until a probe arrives.
SUBSCRIPTIONS: Final = "subscriptions"


class _Hint(logging.Filter):
    """Takes the traceback that ``RedisPubSubChannelLayer`` logs every second as a hint."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not is_lost_connection(error):
            return True
        outage.begin(SUBSCRIPTIONS, LAYER, error)
        return False


_hint: Final = _Hint()


def take_hints() -> None:
    """Have lost connections looked into, and logged in our own two lines."""
    logging.getLogger("channels_redis.pubsub").addFilter(_hint)
