"""Real projects of others, each in an environment of its own, mounted by the README's lines."""

import html.parser
import http.cookiejar
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest

from tests.integration.client import Listener, connect
from tests.integration.server import free_port, wait_for_port
from tests.support import readme
from tests.support.helpers import eventually
from tests.support.wheel import build_wheel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

INSTALL_TIMEOUT_SECONDS = 240
COMMAND_TIMEOUT_SECONDS = 120
REQUEST_TIMEOUT_SECONDS = 60
PASSWORD = "correct horse battery"

MAKE_STAFF = """
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser({identity}, password={password!r})
"""

PUSH_FROM_WAGTAIL = """
from django.dispatch import receiver
from wagtail.signals import page_published

from pm_realtime import send_to_role


@receiver(page_published)
def announce(instance, **kwargs):
    send_to_role("admin", "published", {"title": instance.title, "at": instance.last_published_at})
"""

OSCAR_SETTINGS = """
from oscar.defaults import *

INSTALLED_APPS += [
    "django.contrib.sites",
    "django.contrib.flatpages",
    "oscar.config.Shop",
    *(
        f"oscar.apps.{name}.apps.{config}Config"
        for name, config in {
            "analytics": "Analytics",
            "checkout": "Checkout",
            "address": "Address",
            "shipping": "Shipping",
            "catalogue": "Catalogue",
            "catalogue.reviews": "CatalogueReviews",
            "communication": "Communication",
            "partner": "Partner",
            "basket": "Basket",
            "payment": "Payment",
            "offer": "Offer",
            "order": "Order",
            "customer": "Customer",
            "search": "Search",
            "voucher": "Voucher",
            "wishlists": "Wishlists",
            "dashboard": "Dashboard",
            **{
                f"dashboard.{name}": f"{name.title()}Dashboard"
                for name in (
                    "reports", "users", "orders", "catalogue", "offers", "partners", "pages",
                    "ranges", "reviews", "vouchers", "communications", "shipping",
                )
            },
        }.items()
    ),
    "widget_tweaks",
    "haystack",
    "treebeard",
    "sorl.thumbnail",
    "django_tables2",
    "people",
]
SITE_ID = 1
AUTH_USER_MODEL = "people.User"
AUTHENTICATION_BACKENDS = [
    "oscar.apps.customer.auth_backends.EmailBackend",
    "django.contrib.auth.backends.ModelBackend",
]
MIDDLEWARE += [
    "oscar.apps.basket.middleware.BasketMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
]
TEMPLATES[0]["OPTIONS"]["context_processors"] += [
    "oscar.apps.search.context_processors.search_form",
    "oscar.apps.checkout.context_processors.checkout",
    "oscar.apps.communication.notifications.context_processors.notifications",
    "oscar.core.context_processors.metadata",
]
HAYSTACK_CONNECTIONS = {
    "default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"},
}
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
"""
OSCAR_URLS = """
from django.apps import apps
from django.urls import include, path

urlpatterns = [path("", include(apps.get_app_config("oscar").urls[0]))]
"""
OSCAR_USERS = """
from django.dispatch import receiver
from oscar.apps.customer.abstract_models import AbstractUser
from oscar.apps.customer.signals import user_registered

from pm_realtime import send_to_role


class User(AbstractUser):
    pass


@receiver(user_registered)
def announce(user, **kwargs):
    send_to_role("admin", "registered", {"id": user.pk, "joined": user.date_joined})
"""
OSCAR_ADMIN = """
from django.contrib import admin

from people.models import User


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    search_fields = ("email",)
"""


class Site:
    """A project ``mysite`` in ``folder``, with packages of its own, served by uvicorn."""

    def __init__(self, folder, settings, wheel, *packages):
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/api/ws"
        self.log_path = folder / "server.log"
        self.env = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
            self.env.pop(name, None)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        self.run(
            "pip",
            "install",
            "-q",
            "--no-compile",
            *packages,
            "Django>=5.2,<5.3",
            f"pm-realtime[uvicorn] @ {wheel.as_uri()}",
            timeout=INSTALL_TIMEOUT_SECONDS,
        )

    def run(self, *command, timeout=COMMAND_TIMEOUT_SECONDS):
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(self, *arguments):
        return self.run("python", "manage.py", *arguments)

    def write(self, name, text, append=False):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((path.read_text() if append else "") + "\n" + text)

    def mount(self, settings_file):
        """Do what the README says."""
        line, *_ = readme.blocks()["append: mysite/settings.py"]
        self.write(settings_file, line, append=True)
        asgi = readme.block("file: mysite/asgi.py")
        settings = self.env["DJANGO_SETTINGS_MODULE"]
        self.write("mysite/asgi.py", asgi.replace('"mysite.settings"', repr(settings)))

    def __enter__(self):
        command = readme.block("server: uvicorn").split()
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [str(self.bin / command[0]), *command[1:], "--port", str(self.port)],
                cwd=self.folder,
                env=self.env,
                stdout=log,
                stderr=log,
            )
        wait_for_port(self.port, self.process)
        return self

    def __exit__(self, *error):
        self.process.terminate()
        self.process.wait(COMMAND_TIMEOUT_SECONDS)

    @property
    def log(self):
        return self.log_path.read_text()


class Fields(html.parser.HTMLParser):
    """The fields of all forms of a page with their values."""

    def __init__(self, text):
        super().__init__()
        self.found = {}
        self._area = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        field = dict(attributes)
        name = field.get("name")
        if tag == "textarea":
            self._area = name
            self.found[name] = ""
        elif tag == "input" and name and field.get("type") not in ("checkbox", "radio", "submit"):
            self.found[name] = field.get("value") or ""

    def handle_endtag(self, tag):
        if tag == "textarea":
            self._area = None

    def handle_data(self, data):
        if self._area:
            self.found[self._area] += data


class Visitor:
    """A browser without scripts."""

    def __init__(self, site):
        self.site = site
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))

    def request(self, path, fields=None):
        data = None if fields is None else urllib.parse.urlencode(fields).encode()
        request = urllib.request.Request(self.site.url + path, data)
        request.add_header("Referer", self.site.url + path)
        with self._opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS) as answer:
            return answer.read().decode()

    def submit(self, path, to=None, **changes):
        """Fill in the form of a page and send it, to the page itself or to ``to``."""
        return self.request(to or path, {**Fields(self.request(path)).found, **changes})

    @property
    def cookie(self):
        return "; ".join(f"{each.name}={each.value}" for each in self._jar)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


async def test_wagtail_site_pushes_from_its_own_signal_and_follows_a_logout(tmp_path, wheel):
    site = Site(tmp_path, "mysite.settings.dev", wheel, "wagtail")
    site.run("wagtail", "start", "mysite", ".")
    site.mount("mysite/settings/base.py")
    site.write("home/models.py", PUSH_FROM_WAGTAIL, append=True)
    assert "no issues" in site.manage("check")
    site.manage("migrate", "-v0")
    site.manage("shell", "-c", MAKE_STAFF.format(identity="'boss'", password=PASSWORD))
    with site:
        boss = Visitor(site)
        boss.submit("/admin/login/", username="boss", password=PASSWORD)
        async with connect(site, boss.cookie, kind=Listener) as listener, connect(site) as other:
            assert listener.connected["payload"]["role"] == "master"
            page = re.search(r"/admin/pages/(\d+)/edit/", boss.request("/admin/pages/"))
            boss.submit(
                f"/admin/pages/{page[1]}/edit/",
                **{"title": "Ein neuer Titel", "action-publish": "action-publish"},
            )
            await eventually(lambda: listener.of_type("published"))
            [published] = listener.of_type("published")
            assert published["title"] == "Ein neuer Titel"
            assert (await listener.ask("subscribe", {"room": "project:1"}))["type"] == "subscribed"
            boss.submit("/admin/pages/", to="/admin/logout/")
            assert await listener.closed() == 4501
            assert (await other.ask("ping"))["type"] == "pong"
    assert "Traceback" not in site.log


async def test_shop_of_users_with_email_addresses_pushes_and_follows_a_logout(tmp_path, wheel):
    site = Site(tmp_path, "mysite.settings", wheel, "django-oscar", "sorl-thumbnail")
    site.run("django-admin", "startproject", "mysite", ".")
    site.mount("mysite/settings.py")
    site.write("mysite/settings.py", OSCAR_SETTINGS, append=True)
    site.write("mysite/urls.py", OSCAR_URLS)
    site.write("people/__init__.py", "")
    site.write("people/models.py", OSCAR_USERS)
    site.write("people/admin.py", OSCAR_ADMIN)
    site.manage("makemigrations", "people", "-v0")
    site.manage("migrate", "-v0")
    assert "pm_realtime" not in site.manage("check")
    identity = "email='boss@example.com'"
    site.manage("shell", "-c", MAKE_STAFF.format(identity=identity, password=PASSWORD))
    with site:
        boss, customer = Visitor(site), Visitor(site)
        boss.submit(
            "/accounts/login/",
            **{"login-username": "boss@example.com", "login-password": PASSWORD},
            login_submit="Log In",
        )
        async with connect(site, boss.cookie, kind=Listener) as staff:
            assert staff.connected["payload"]["role"] == "master"
            customer.submit(
                "/accounts/login/",
                **{
                    "registration-email": "ann@example.com",
                    "registration-password1": PASSWORD,
                    "registration-password2": PASSWORD,
                },
                registration_submit="Register",
            )
            await eventually(lambda: staff.of_type("registered"))
            async with connect(site, customer.cookie, kind=Listener) as ann:
                [registered] = staff.of_type("registered")
                assert ann.connected["payload"]["userId"] == registered["id"]
                assert ann.connected["payload"]["role"] == "user"
                for client in staff, ann:
                    await client.ask("subscribe", {"room": "lobby"})
                sent = await ann.ask("message", {"room": "lobby", "content": "Hello"})
                assert sent["payload"]["from"] == {"userId": registered["id"], "name": ""}
                await eventually(lambda: staff.of_type("message"))
                customer.request("/accounts/logout/")
                assert await ann.closed() == 4501
                assert (await staff.ask("ping"))["type"] == "pong"
    assert "Traceback" not in site.log
