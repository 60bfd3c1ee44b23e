"""Django's session engines, and a browser that uses a session of a logged-in user."""

from importlib import import_module

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user, login, logout, update_session_auth_hash
from django.contrib.sessions.models import Session
from django.http import HttpRequest

ENGINES = ("db", "cached_db", "cache", "file", "signed_cookies")


class Browser:
    """The cookie of one browser. Each method is a request."""

    def __init__(self, user, age=None):
        self.user = user
        self.age = age
        self.key = None

    @classmethod
    async def of(cls, user, age=None):
        browser = cls(user, age)
        await sync_to_async(browser.log_in_now)()
        return browser

    @property
    def cookie(self):
        return (b"cookie", f"{settings.SESSION_COOKIE_NAME}={self.key}".encode())

    @property
    def headers(self):
        return [self.cookie]

    def log_in_now(self):
        """Log in from a thread that may use the database."""

        def view(request):
            if self.age is not None:
                request.session.set_expiry(self.age)
            login(request, self.user, backend=settings.AUTHENTICATION_BACKENDS[0])

        self.request_now(view)

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
        """Change it in one request, which calls ``and_then()`` before its response."""

        def view(request):
            request.user.set_password(password)
            request.user.save()
            update_session_auth_hash(request, request.user)
            and_then()

        await self.request(view)

    async def lose(self):
        """Delete the session without a signal."""
        await sync_to_async(lose)(self.key)


def store_of(key):
    return import_module(settings.SESSION_ENGINE).SessionStore(key)


def lose(key):
    """Delete the session with ``key`` without a signal."""
    if settings.SESSION_ENGINE.endswith(".db"):
        row = Session.objects.filter(session_key=key)
        row._raw_delete(row.db)
    else:
        store_of(key).delete()
