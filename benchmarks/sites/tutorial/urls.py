from channels.layers import get_channel_layer
from django.http import HttpRequest, HttpResponse
from django.urls import path


async def direct(request: HttpRequest, user: int) -> HttpResponse:
    """Send the body of the request to a user, who has a group to himself."""
    event = {"type": "chat.message", "message": request.body.decode()}
    await get_channel_layer().group_send(f"chat_user-{user}", event)
    return HttpResponse(status=204)


urlpatterns = [path("direct/<int:user>", direct)]
