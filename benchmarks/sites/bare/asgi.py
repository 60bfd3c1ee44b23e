import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

from benchmarks.sites.bare.consumers import OrderConsumer

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.bare.settings"
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("ws", OrderConsumer.as_asgi())])}
)
