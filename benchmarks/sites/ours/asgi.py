import os

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.ours.settings"

from benchmarks.sites.direct import DirectEndpoint
from pm_realtime import asend_to_user
from pm_realtime.asgi import get_asgi_application


async def push(user: int, body: str) -> None:
    await asend_to_user(user, "notification", body)


application = DirectEndpoint(get_asgi_application(), push)
