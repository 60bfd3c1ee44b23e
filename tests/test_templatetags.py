"""``{% realtime_client %}``: one script tag without inline code, from the settings."""

import json
import re
from html.parser import HTMLParser
from math import inf
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory, override_settings
from django.urls import set_script_prefix
from django.utils.functional import SimpleLazyObject, lazystr

from tests.support.node import ROOT

DOCS = (ROOT / "docs" / "client.md").read_text()


@pytest.fixture(autouse=True)
def _site_with_templates(settings):
    settings.STATIC_URL = "/static/"
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def attributes(arguments="", **context):
    """Return the attributes of the rendered tag, which has no content."""
    text = Template(f"{{% load pm_realtime %}}{{% realtime_client {arguments} %}}").render(
        Context(context)
    )
    tags = Tags()
    tags.feed(text)
    *links, (name, found) = tags.found
    assert (name, found["type"], tags.text) == ("script", "module", "")
    preloaded = {
        "rel": "modulepreload",
        "href": found.get("data-pm-shared"),
        "nonce": found.get("nonce"),
    }
    expected = {name: value for name, value in preloaded.items() if value is not None}
    assert links == ([("link", expected)] if "href" in expected else [])
    return found


def options(arguments="", **context):
    return json.loads(attributes(arguments, **context)["data-pm-realtime"])


def test_tag_loads_the_module_and_has_the_path_of_the_settings():
    found = attributes()
    assert found["src"] == "/static/pm_realtime/client.js"
    assert json.loads(found["data-pm-realtime"]) == {"url": "/api/ws"}
    assert set(found) == {"type", "src", "data-pm-realtime"}
    with override_settings(PM_REALTIME={"PATH": "/live/ws/"}):
        assert options() == {"url": "/live/ws"}


def test_example_of_the_documentation_renders():
    (written,) = re.findall(r"<!-- template: tag -->\n```html\n(.*?)```", DOCS, re.DOTALL)
    assert "&quot;autoConnect&quot;: true" in Template(written).render(Context())


def test_url_has_the_script_prefix():
    set_script_prefix("/sub/")
    try:
        assert options() == {"url": "/sub/api/ws"}
    finally:
        set_script_prefix("/")


def test_options_override_the_settings():
    assert options("auto_connect=True shared=True max_reconnect_attempts=None") == {
        "url": "/api/ws",
        "autoConnect": True,
        "shared": True,
        "maxReconnectAttempts": None,
    }
    with override_settings(PM_REALTIME={"CLIENT": {"debug": True, "reconnect_delay": 500}}):
        assert options("debug=False url='/other'") == {
            "url": "/other",
            "debug": False,
            "reconnectDelay": 500,
        }


def test_values_without_a_json_type_are_converted():
    """JSON has no infinity, user ids may be UUIDs, and addresses may be lazy."""
    user = UUID(int=7)
    found = options("shared=user max_reconnect_attempts=endless", user=user, endless=inf)
    assert found == {"url": "/api/ws", "maxReconnectAttempts": None, "shared": str(user)}
    assert options("url=address", address=lazystr("/late")) == {"url": "/late"}


def test_options_are_escaped():
    text = '"><script>alert(1)</script>'
    assert options("url=address", address=text) == {"url": text}


def test_unknown_option_raises_an_error_that_names_the_options():
    with pytest.raises(TemplateSyntaxError, match=r"autoConnect; its options are auto_connect, "):
        options("autoConnect=True")
    with (
        override_settings(PM_REALTIME={"CLIENT": {"autoConnect": True}}),
        pytest.raises(ImproperlyConfigured, match="auto_connect"),
    ):
        options()


@pytest.mark.parametrize("none", [None, ""])
def test_none_and_undefined_variables_are_left_out(none):
    names = ("auto_connect", "reconnect_delay", "url", "protocols", "shared", "debug")
    assert options(" ".join(f"{name}=none" for name in names), none=none) == {"url": "/api/ws"}
    with override_settings(PM_REALTIME={"CLIENT": {"protocols": None, "reconnect": False}}):
        assert options("reconnect=none", none=none) == {"url": "/api/ws", "reconnect": False}


@pytest.mark.parametrize("user", [7, UUID(int=7), "anna", lazystr("anna")])
def test_shared_accepts_ids_of_any_type(user):
    assert options("shared=user", user=user) == {"url": "/api/ws", "shared": str(user)}


@pytest.mark.parametrize("shared", [True, 7, "anna"])
def test_shared_preloads_its_module_under_the_name_in_the_storage(shared):
    found = attributes("shared=shared nonce='n'", shared=shared)
    assert found["data-pm-shared"] == "/static/pm_realtime/shared.js"
    with override_settings(PM_REALTIME={"CLIENT": {"shared": shared}}):
        assert "data-pm-shared" in attributes()
        assert "data-pm-shared" not in attributes("shared=False")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("auto_connect", "False", "True or False"),
        ("reconnect", 2, "True or False"),
        ("debug", [True], "True or False"),
        ("max_reconnect_attempts", -1, "a whole number, or None"),
        ("max_reconnect_attempts", 1.5, "a whole number, or None"),
        ("max_reconnect_attempts", True, "a whole number, or None"),
        ("reconnect_delay", "1s", "a number of milliseconds"),
        ("reconnect_delay", inf, "a number of milliseconds"),
        ("url", 5, "an address or a path"),
        ("protocols", ["a", "a"], "a list of different ones"),
        ("protocols", "a b", "the name of a subprotocol"),
        ("protocols", [None], "the name of a subprotocol"),
        ("persist", True, '"own", "all" or False'),
        ("shared", ["anna"], "True, False, or the id of the page's user"),
    ],
)
def test_invalid_option_raises_an_error_that_names_valid_values(name, value, expected):
    with pytest.raises(TemplateSyntaxError) as caught:
        options(f"{name}=value", value=value)
    assert str(caught.value).startswith(f"realtime_client got {name}={value!r}; it must be ")
    assert expected in str(caught.value)
    with (
        override_settings(PM_REALTIME={"CLIENT": {name: value}}),
        pytest.raises(ImproperlyConfigured),
    ):
        options()


class LazyNonce(SimpleLazyObject):
    """A nonce as in Django 6 and django-csp, which is false until it is read."""

    def __bool__(self):
        return False


def request_with_nonce(nonce):
    request = RequestFactory().get("/")
    request.csp_nonce = LazyNonce(lambda: nonce)
    return request


@pytest.mark.parametrize(
    ("arguments", "context", "nonce"),
    [
        ("", {"csp_nonce": LazyNonce(lambda: "of-django")}, "of-django"),
        ("", {"request": request_with_nonce("of-django-csp")}, "of-django-csp"),
        ("nonce=mine", {"mine": "x", "csp_nonce": "other"}, "x"),
        ("nonce=''", {"csp_nonce": "other"}, None),
        ("", {"request": RequestFactory().get("/")}, None),
    ],
)
def test_tag_has_the_nonce_of_the_page(arguments, context, nonce):
    assert attributes(arguments, **context).get("nonce") == nonce


def test_source_can_be_on_a_cdn():
    with override_settings(STATIC_URL="https://cdn.example.com/s/"):
        found = attributes()
    assert found["src"] == "https://cdn.example.com/s/pm_realtime/client.js"
    assert json.loads(found["data-pm-realtime"])["url"] == "/api/ws"
