"""Pages with the template tag, under the policy in ``TEST_POLICY``, and their static files."""

import os
import re
from pathlib import Path

from django.conf import settings
from django.http import HttpResponse
from django.template import Context, Template
from django.urls import path
from django.views.static import serve

from tests.site import urls

DOCS = Path(__file__).resolve().parents[2] / "docs" / "client.md"
NONCE = "of-this-page"
PAGE = """<!doctype html>
{% load pm_realtime %}
<title>waiting</title>
<link rel="icon" href="/page.js">
{% realtime_client auto_connect=True shared=shared %}
<script type="module" src="/page.js"></script>
"""
SCRIPT = """
const { realtime } = window;
realtime.once(":open", async ({ role }) => {
  document.documentElement.dataset.opened = performance.now();
  await realtime.subscribe("open");
  const { payload } = await realtime.sendToRoom("open", "Hello");
  document.title = `${role}: ${payload.content}`;
});
"""
#: The ways in which a page can have a script, with the name in place of ``{0}``.
EXTERNAL = {
    "blocking": '<script src="/waiting.js?{0}"></script>',
    "defer": '<script defer src="/waiting.js?{0}"></script>',
    "async": '<script async src="/waiting.js?{0}"></script>',
    "module": '<script type="module" src="/waiting.js?{0}"></script>',
    "async-module": '<script async type="module" src="/waiting.js?{0}"></script>',
}
INLINE = {
    "inline": '<script nonce="of-this-page">{1}</script>',
    "inline-module": '<script nonce="of-this-page" type="module">{1}</script>',
}
#: The line of the documentation, and what the function does with the client.
WAITING = """{line}(realtime) => {{
  const say = () => document.documentElement.setAttribute("data-{name}", realtime.status);
  if (realtime.connected) say();
  else realtime.once(":open", say);
}});"""


def page(request):
    context = {"request": request, "shared": bool(request.GET.get("shared"))}
    return _answer(PAGE, context)


def scripts_around_the_tag(request):
    """Answer with a page that has scripts of each kind above and below the tag."""
    kinds = EXTERNAL | (INLINE if request.GET.get("inline") else {})
    above, below = (
        "".join(
            each.format(f"{kind}-{position}", waiting_script(f"{kind}-{position}"))
            for kind, each in kinds.items()
        )
        for position in ("above", "below")
    )
    tag = "{% load pm_realtime %}{% realtime_client auto_connect=True %}"
    return _answer(
        f"<!doctype html><title>waiting</title><link rel=icon href=/page.js>{above}{tag}{below}", {}
    )


def _answer(text, context):
    answer = HttpResponse(Template(text).render(Context({**context, "csp_nonce": NONCE})))
    answer["Content-Security-Policy"] = os.environ["TEST_POLICY"]
    return answer


def waiting_script(name):
    (line,) = re.findall(r"<!-- example: ready -->\n```js\n(.*?)\(realtime\) =>", DOCS.read_text())
    return WAITING.format(line=line, name=name)


def script(request):
    return HttpResponse(SCRIPT, content_type="text/javascript")


def waiting(request):
    name = request.META["QUERY_STRING"]
    return HttpResponse(waiting_script(name), content_type="text/javascript")


def static(request, name):
    answer = serve(request, name, document_root=settings.STATIC_ROOT)
    answer["Access-Control-Allow-Origin"] = "*"
    return answer


urlpatterns = [
    path("page/", page),
    path("scripts-around-the-tag/", scripts_around_the_tag),
    path("page.js", script),
    path("waiting.js", waiting),
    path("static/<path:name>", static),
    *urls.urlpatterns,
]
