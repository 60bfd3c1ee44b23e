import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path

from benchmarks.sites.auth.consumers import Greeter

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.auth.settings"
django_application = get_asgi_application()

routes = URLRouter([path("ws", Greeter.as_asgi())])
application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(routes)),
    }
)
