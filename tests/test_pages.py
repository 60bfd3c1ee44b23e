"""``@realtime_room`` and ``{% realtime_room %}``: the position of a room in a page."""

import logging
import re
import time
from html.parser import HTMLParser

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.decorators import login_required
from django.core.exceptions import SynchronousOnlyOperation
from django.http import Http404, HttpResponse
from django.template import Context, RequestContext, Template
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_page

from pm_realtime import (
    aget_cursor,
    asend_to_room,
    get_cursor,
    get_history,
    pages,
    realtime_room,
    send_to_room,
)
from pm_realtime.backends import get_streams, use_streams
from pm_realtime.backends.memory_streams import MemoryStreams
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import expect_sockets
from pm_realtime.pages import PAUSE_SECONDS, Pause
from tests.support.recovery import LONG_AGO

pytestmark = pytest.mark.usefixtures("memory_layer", "_site_with_templates")

ROOM = "project:42"


@pytest.fixture
def _site_with_templates(settings):
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]


@pytest.fixture(autouse=True)
def _own_streams():
    expect_sockets()
    use_streams(MemoryStreams())
    yield
    use_streams(None)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def render(request=None, room=ROOM):
    """The position in the rendered tag, which is one element without content."""
    text = Template("{% load pm_realtime %}{% realtime_room room %}").render(
        Context({"request": request, "room": room})
    )
    tags = Tags(text)
    ((name, attributes),) = tags.found
    assert (name, attributes["type"], tags.text) == ("script", "application/json", "")
    assert set(attributes) == {"type", "data-pm-room", "data-pm-cursor"}
    assert attributes["data-pm-room"] == room
    return attributes["data-pm-cursor"]


@realtime_room("project:{pk}")
def sync_page(request, pk):
    send_to_room(ROOM, "changed")  # While the queries run.
    return HttpResponse(render(request))


@realtime_room("project:{pk}")
async def async_page(request, pk):
    await asend_to_room(ROOM, "changed")
    return HttpResponse(render(request))


@method_decorator(realtime_room("project:{pk}"), name="dispatch")
class SyncPage(View):
    def get(self, request, pk):
        send_to_room(ROOM, "changed")
        return HttpResponse(render(request))


@method_decorator(realtime_room("project:{pk}"), name="dispatch")
class AsyncPage(View):
    async def get(self, request, pk):
        await asend_to_room(ROOM, "changed")
        return HttpResponse(render(request))


@cache_page(30)
@realtime_room("project:{pk}")
def cached_page(request, pk):
    return HttpResponse(render(request))


@realtime_room(lambda org, pk: f"{org}:{pk}")
@realtime_room(ROOM)
def page_of_two_rooms(request, org, pk):
    return HttpResponse(" ".join(request.realtime_cursors))


@realtime_room("topic:{slug}")
def page_of_a_topic(request, slug):
    raise Http404


@realtime_room("topic:{slug}")
async def async_page_of_a_topic(request, slug):
    raise Http404


urlpatterns = [
    path("topic/<slug:slug>/", page_of_a_topic),
    path("async-topic/<slug:slug>/", async_page_of_a_topic),
    path("sync/<int:pk>/", sync_page),
    path("async/<int:pk>/", async_page),
    path("sync-class/<int:pk>/", SyncPage.as_view()),
    path("async-class/<int:pk>/", AsyncPage.as_view()),
    path("cached/<int:pk>/", cached_page),
    path("two/<str:org>/<int:pk>/", page_of_two_rooms),
]


@pytest.fixture
def _urls(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []


KINDS = ["sync", "async", "sync-class", "async-class"]


@pytest.mark.usefixtures("_urls")
@pytest.mark.parametrize("kind", KINDS)
def test_position_in_the_page_is_from_before_the_view(client, kind):
    before = get_cursor(ROOM)
    assert client.get(f"/{kind}/42/").content.decode() == before
    assert get_cursor(ROOM) > before


@pytest.mark.usefixtures("_urls")
@pytest.mark.parametrize("kind", KINDS)
async def test_position_in_the_page_under_an_asgi_server(async_client, kind):
    before = await aget_cursor(ROOM)
    assert (await async_client.get(f"/{kind}/42/")).content.decode() == before
    assert await aget_cursor(ROOM) > before


@pytest.mark.usefixtures("_urls")
def test_cached_page_keeps_its_position(client):
    first = client.get("/cached/42/").content
    send_to_room(ROOM, "changed")
    assert client.get("/cached/42/").content == first


@pytest.mark.usefixtures("_urls")
def test_name_may_come_from_a_callable_and_a_page_may_have_several_rooms(client):
    assert client.get("/two/acme/7/").content.decode().split() == ["acme:7", ROOM]


def test_position_of_the_view_needs_no_context_processor():
    """As in an inclusion tag, or on a site without ``context_processors.request``."""
    page = Template("{% load pm_realtime %}{% realtime_room room %}")

    @realtime_room(ROOM)
    def view(request):
        send_to_room(ROOM, "changed")
        return page.render(RequestContext(request, {"room": ROOM}))

    before = get_cursor(ROOM)
    assert before in view(RequestFactory().get("/"))


def test_tag_takes_the_present_position_if_the_view_took_none():
    assert render() == get_cursor(ROOM)
    send_to_room(ROOM, "changed")
    assert render(RequestFactory().get("/")) == get_cursor(ROOM)


@pytest.mark.parametrize("room", ["a\"b<c>&'d", "</script><script>alert(1)</script>", "é 部屋"])
def test_name_of_the_room_is_escaped(room):
    assert re.fullmatch(r"\d{13}-\d{6}", render(room=room))


def test_room_that_keeps_nothing_has_no_position(configure):
    configure(ROOMS={ROOM: {"history": 0}})
    assert get_cursor(ROOM) is None
    assert render() == ""


@pytest.mark.parametrize("room", ["", "a\nb", "x" * 201, None])
def test_name_of_no_room_is_refused(room):
    with pytest.raises(ValueError, match="room"):
        Template("{% load pm_realtime %}{% realtime_room room %}").render(Context({"room": room}))


@pytest.mark.usefixtures("_urls")
@pytest.mark.parametrize("kind", ["topic", "async-topic"])
def test_view_decides_about_an_address_that_fits_no_room(client, kind):
    assert client.get(f"/{kind}/{'x' * 201}/").status_code == 404


def test_missing_argument_of_the_view_is_named():
    page = realtime_room("project:{pk}")(lambda request, slug: None)
    with pytest.raises(ValueError, match=r"'pk' of the view's keyword arguments, which are: slug"):
        page(RequestFactory().get("/"), slug="a")


def view(request, pk):
    pass


async def async_view(req, pk):
    pass


class ViewOfClass(View):
    def get(self, request, pk):
        pass


BARE = [view, login_required(view), async_view, ViewOfClass, ViewOfClass.get, ViewOfClass.as_view()]


@pytest.mark.parametrize("bare", BARE)
def test_bare_decorator_is_a_type_error(bare):
    expected = r'the name of a room in parentheses, got the view .* Write @realtime_room\("'
    with pytest.raises(TypeError, match=expected):
        realtime_room(bare)


@pytest.mark.parametrize("room", [None, 5, ("a", "b"), b"a"])
def test_room_that_is_no_text_is_a_type_error(room):
    with pytest.raises(TypeError, match=r"expected the name of a room, or a callable .* got "):
        realtime_room(room)


async def test_template_of_an_async_view_needs_the_decorator():
    with pytest.raises(SynchronousOnlyOperation, match="Decorate the view"):
        render(AsyncRequestFactory().get("/"))


class Unreachable(MemoryStreams):
    async def get_tops(self, groups):
        raise BackendError("Redis does not answer.")


@pytest.mark.usefixtures("_urls")
@pytest.mark.parametrize("kind", KINDS)
def test_position_is_that_of_the_clock_while_redis_is_away(client, kind, caplog):
    use_streams(Unreachable())
    with caplog.at_level(logging.WARNING, "pm_realtime.push"):
        found = [client.get(f"/{kind}/42/").content.decode() for _ in range(3)]
    assert len([each for each in caplog.records if "position" in each.message]) == 1
    use_streams(MemoryStreams())
    assert LONG_AGO < max(found) < get_cursor(ROOM)


def test_page_of_an_outage_gets_what_is_pushed_after_it():
    clock = Clock()
    clock.now = time.time() - 30
    streams = MemoryStreams(clock)
    use_streams(streams)
    send_to_room(ROOM, "before")
    use_streams(Unreachable())
    position = render()
    use_streams(streams)
    clock.now = time.time()
    send_to_room(ROOM, "after")
    history = get_history(ROOM, since=position)
    assert history.recovered
    assert [each["type"] for each in history.messages] == ["after"]


def test_room_that_keeps_nothing_has_no_position_while_redis_is_away(configure):
    configure(ROOMS={ROOM: {"history": 0}})
    use_streams(Unreachable())
    assert render() == ""


class Counting(MemoryStreams):
    asked = 0

    async def get_tops(self, groups):
        self.asked += 1
        return await super().get_tops(groups)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("seconds", "is_on"), [(0.1, False), (3, True)])
def test_pages_do_not_wait_one_after_another_for_a_silent_server(seconds, is_on):
    pause = Pause(clock := Clock())
    assert not pause.is_on
    with pause.after_failure():
        clock.now += seconds
        raise BackendError("Redis does not answer.")
    assert pause.is_on is is_on
    clock.now += PAUSE_SECONDS
    assert not pause.is_on


@pytest.mark.usefixtures("_urls")
@pytest.mark.parametrize("kind", KINDS)
def test_pages_ask_nothing_during_a_pause(client, kind, monkeypatch):
    use_streams(Counting())
    monkeypatch.setattr(pages, "pause", paused := Pause(clock := Clock()))
    with paused.after_failure():
        clock.now += 3
        raise BackendError("Redis does not answer.")
    client.get(f"/{kind}/42/")
    assert get_streams().asked == 0
    clock.now += PAUSE_SECONDS
    client.get(f"/{kind}/42/")
    assert get_streams().asked == 1


def test_decorated_view_keeps_its_name_and_its_kind():
    assert (sync_page.__name__, iscoroutinefunction(sync_page)) == ("sync_page", False)
    assert (async_page.__name__, iscoroutinefunction(async_page)) == ("async_page", True)


@override_settings(PM_REALTIME={"ROOMS": {"project:<int:pk>": {}}})
def test_name_that_fits_no_room_is_refused():
    with pytest.raises(ValueError, match="begins like"):
        render(room="project:x")
