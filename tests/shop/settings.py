from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, PM_REALTIME

INSTALLED_APPS = [*INSTALLED_APPS, "tests.shop"]
ASGI_APPLICATION = "tests.shop.asgi.application"

# SQLite does not wait for a lock if a transaction has read before it writes.
DATABASES["default"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE"
PM_REALTIME = {
    "ROOMS": {
        "auction:<int:pk>": {"min_role": "user"},
        "steps:<int:number>": {"public": True},
    },
    **PM_REALTIME,
}
