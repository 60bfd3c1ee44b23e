"""Pages with the files of the client, under a content security policy without exceptions."""

import time
from pathlib import Path

from django.contrib.auth import get_user_model, login, logout, update_session_auth_hash
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import Engine, RequestContext
from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.static import serve

import pm_realtime
from pm_realtime.pages import realtime_room

STATIC = Path(pm_realtime.__file__).parent / "static"
SCRIPTS = Path(__file__).parent / "scripts"
PAGE = (
    '<!doctype html><title>{name}</title><script type="module" src="/scripts/{name}.js"></script>'
)
SLOW_SECONDS = 2
CACHE_SECONDS = 30
ENGINE = Engine(libraries={"pm_realtime": "pm_realtime.templatetags.pm_realtime"})
OPEN_ROOM = ENGINE.from_string('{% load pm_realtime %}{% realtime_room "open" %}')
_answered: list[str] = []


def page(request: HttpRequest, name: str) -> HttpResponse:
    """Answer with a page that runs the script ``name``."""
    response = HttpResponse(PAGE.format(name=name))
    response.headers["Content-Security-Policy"] = "default-src 'self'"
    return response


@cache_page(CACHE_SECONDS)
@realtime_room("open")
def cached(request: HttpRequest, name: str) -> HttpResponse:
    """As :func:`page`, with the position of the room ``open``; cached."""
    return HttpResponse(PAGE.format(name=name) + OPEN_ROOM.render(RequestContext(request)))


def leaf(request: HttpRequest, number: int) -> HttpResponse:
    """A page with a link to the next one."""
    anchor = f'<a href="/leaf/{number + 1}/">Next</a>'
    return HttpResponse(PAGE.format(name="leaf") + anchor)


def sign_in(request: HttpRequest, name: str) -> HttpResponse:
    user, _ = get_user_model().objects.get_or_create(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(f"{user.pk}")


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("out")


def change_password(request: HttpRequest, seconds: int) -> HttpResponse:
    """Change the password, keep this session, and take ``seconds`` for the response."""
    request.user.set_password("another password")
    request.user.save()
    update_session_auth_hash(request, request.user)
    time.sleep(seconds)
    return HttpResponse("changed")


def answer(request: HttpRequest, kind: str) -> HttpResponse:
    """Answer a navigation so that the browser stays on its page."""
    _answered.append(kind)
    if kind == "slow":
        time.sleep(SLOW_SECONDS)
    response = HttpResponse("a file", status=204 if kind == "empty" else 200)
    if kind == "attachment":
        response.headers["Content-Disposition"] = 'attachment; filename="file.bin"'
    return response


def answers(request: HttpRequest) -> JsonResponse:
    """Answer with the number of calls of :func:`answer`."""
    return JsonResponse(len(_answered), safe=False)


urlpatterns = [
    path("answer/<kind>/", answer),
    path("answers/", answers),
    path("page/<slug:name>/", page),
    path("cached/<slug:name>/", cached),
    path("leaf/<int:number>/", leaf),
    path("sign-in/<name>/", sign_in),
    path("sign-out/", sign_out),
    path("change-password/<int:seconds>/", change_password),
    path("static/<path:path>", serve, {"document_root": STATIC}),
    path("scripts/<path:path>", serve, {"document_root": SCRIPTS}),
]
