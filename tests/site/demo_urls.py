"""The URLs of the demo, and one for its counts."""

from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from pm_realtime import aget_stats


async def stats(request: HttpRequest) -> JsonResponse:
    return JsonResponse(await aget_stats())


urlpatterns = [path("stats/", stats), path("", include("example_project.urls"))]
