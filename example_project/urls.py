"""The URLs of the demo."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.support.urls")),
    path("", include("pm_realtime.urls")),
    path("admin/", admin.site.urls),
]
