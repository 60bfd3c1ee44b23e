"""The ASGI application: Django's HTTP and the WebSocket of pm_realtime."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

from pm_realtime.asgi import get_asgi_application

application = get_asgi_application()
