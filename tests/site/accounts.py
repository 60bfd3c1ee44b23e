"""Views that change who somebody is."""

from django.contrib.auth import get_user_model, logout
from django.http import HttpRequest, HttpResponse


def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("logged out")


def rename(request: HttpRequest) -> HttpResponse:
    """Save a user, so that all who are connected as this one are looked at."""
    user = get_user_model().objects.get(username=request.GET["user"])
    user.last_name = request.GET["name"]
    user.save()
    return HttpResponse("renamed")
