from django.http import HttpRequest, HttpResponse
from django.urls import path

from pm_realtime import asend_to_user


async def direct(request: HttpRequest, user: int) -> HttpResponse:
    """Push the body of the request to a user."""
    await asend_to_user(user, "notification", request.body.decode())
    return HttpResponse(status=204)


urlpatterns = [path("direct/<int:user>", direct)]
