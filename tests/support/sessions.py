"""Django's session engines, and what a browser of a logged-in user does with its session."""

from importlib import import_module

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user, login, logout, update_session_auth_hash
from django.contrib.sessions.models import Session
from django.http import HttpRequest

ENGINES = ("db", "cached_db", "cache", "file", "signed_cookies")


class Browser:
    """Holds the session of a user, as the cookie of a browser does; each step is a request."""

    def __init__(self, user, age=None):
        self.user = user
        self.age = age
        self.key = None

    @classmethod
    async def of(cls, user, age=None):
        browser = cls(user, age)
        await browser.request(browser._log_in)
        return browser

    @property
    def cookie(self):
        return (b"cookie", f"{settings.SESSION_COOKIE_NAME}={self.key}".encode())

    @property
    def headers(self):
        return [self.cookie]

    def _log_in(self, request):
        if self.age is not None:
            request.session.set_expiry(self.age)
        login(request, self.user, backend=settings.AUTHENTICATION_BACKENDS[0])

    async def request(self, view):
        """Run ``view(request)`` as the session middleware would."""
        return await sync_to_async(self.request_now)(view)

    def request_now(self, view):
        request = HttpRequest()
        request.session = store_of(self.key)
        request.user = get_user(request)
        answer = view(request)
        if request.session.modified and SESSION_KEY in request.session:
            request.session.save()
        self.key = request.session.session_key
        return answer

    async def log_out(self):
        await self.request(logout)

    async def log_in_as(self, user):
        await self.request(
            lambda request: login(request, user, settings.AUTHENTICATION_BACKENDS[0])
        )

    async def change_password(self, password="another", and_then=lambda: None):
        """In one request, which does ``and_then()`` before it answers."""

        def view(request):
            request.user.set_password(password)
            request.user.save()
            update_session_auth_hash(request, request.user)
            and_then()

        await self.request(view)

    async def lose(self):
        """Have the session vanish without a word."""
        await sync_to_async(lose)(self.key)


def store_of(key):
    return import_module(settings.SESSION_ENGINE).SessionStore(key)


def lose(key):
    """Have the session behind ``key`` vanish from where it is kept, without a word."""
    if settings.SESSION_ENGINE.endswith(".db"):
        row = Session.objects.filter(session_key=key)
        row._raw_delete(row.db)
    else:
        store_of(key).delete()
