import os

from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

from benchmarks.sites.direct import DirectEndpoint
from benchmarks.sites.tutorial.consumers import ChatConsumer

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.tutorial.settings"
django_application = get_asgi_application()


async def push(user: int, body: str) -> None:
    """Push to a user, whose room has no other member."""
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(f"chat_user-{user}", {"type": "chat.message", "message": body})


websocket_urlpatterns = [re_path(r"ws/chat/(?P<room_name>[\w-]+)/$", ChatConsumer.as_asgi())]  # type: ignore[arg-type]
application = DirectEndpoint(
    ProtocolTypeRouter({"http": django_application, "websocket": URLRouter(websocket_urlpatterns)}),
    push,
)
