"""The site with receivers that never return, for the signals in the environment's ``STUCK``."""

import os

from pm_realtime import signals
from tests.site.asgi import application
from tests.site.rules import wait_forever

__all__ = ["application"]


def wait(**arguments):
    wait_forever()


for name in filter(None, os.environ.get("STUCK", "").split(",")):
    getattr(signals, name).connect(wait, weak=False)
