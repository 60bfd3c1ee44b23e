import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, PM_REALTIME

INSTALLED_APPS = [*INSTALLED_APPS, "tests.shop"]
ASGI_APPLICATION = "tests.shop.asgi.application"

# SQLite does not wait for a lock if a transaction has read before it writes.
if "SHOP_TRANSACTION_MODE" in os.environ:
    DATABASES["default"]["OPTIONS"]["transaction_mode"] = os.environ["SHOP_TRANSACTION_MODE"]
PM_REALTIME = {
    "ROOMS": {
        "auction:<int:pk>": {"min_role": "user"},
        "steps:<int:number>": {"public": True},
    },
    **PM_REALTIME,
}
