import os

from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

from benchmarks.sites.direct import DirectDoor
from benchmarks.sites.tutorial.consumers import ChatConsumer

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.sites.tutorial.settings"
django_application = get_asgi_application()


async def push(user: int, body: str) -> None:
    """To a user, who is in a room alone."""
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(f"chat_user-{user}", {"type": "chat.message", "message": body})


websocket_urlpatterns = [re_path(r"ws/chat/(?P<room_name>[\w-]+)/$", ChatConsumer.as_asgi())]  # type: ignore[arg-type]
application = DirectDoor(
    ProtocolTypeRouter({"http": django_application, "websocket": URLRouter(websocket_urlpatterns)}),
    push,
)
