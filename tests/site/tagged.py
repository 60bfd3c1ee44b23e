"""A page with the template tag, under the policy in ``TEST_POLICY``, and its static files."""

import os

from django.conf import settings
from django.http import HttpResponse
from django.template import Context, Template
from django.urls import path
from django.views.static import serve

from tests.site import urls

PAGE = """<!doctype html>
{% load pm_realtime %}
<title>waiting</title>
<link rel="icon" href="/page.js">
{% realtime_client auto_connect=True %}
<script type="module" src="/page.js"></script>
"""
SCRIPT = """
const { realtime } = window;
realtime.once(":open", async ({ role }) => {
  await realtime.subscribe("open");
  const { payload } = await realtime.sendToRoom("open", "Hello");
  document.title = `${role}: ${payload.content}`;
});
"""


def page(request):
    answer = HttpResponse(Template(PAGE).render(Context({"request": request})))
    answer["Content-Security-Policy"] = os.environ["TEST_POLICY"]
    return answer


def script(request):
    return HttpResponse(SCRIPT, content_type="text/javascript")


def static(request, name):
    answer = serve(request, name, document_root=settings.STATIC_ROOT)
    answer["Access-Control-Allow-Origin"] = "*"
    return answer


urlpatterns = [
    path("page/", page),
    path("page.js", script),
    path("static/<path:name>", static),
    *urls.urlpatterns,
]
