import os

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.with_chanx.settings"

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

from benchmarks.sites.with_chanx.consumers import OrderConsumer

application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("ws", OrderConsumer.as_asgi())]),  # type: ignore[list-item, arg-type]
    }
)
