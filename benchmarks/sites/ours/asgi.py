import os

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.ours.settings"

from pm_realtime.asgi import get_asgi_application

application = get_asgi_application()
