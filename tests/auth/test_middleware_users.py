"""A user in ``scope["user"]`` may have changed since a middleware read it."""

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.middleware import BaseMiddleware
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend

from pm_realtime import arefresh_user, asend_to_role
from pm_realtime.connection import RealtimeConsumer
from tests.support.helpers import Connection
from tests.support.sessions import Browser

User = get_user_model()


@pytest.fixture(autouse=True)
def late(configure):
    """No sweep takes place during the test."""
    configure(SESSION_RECHECK_INTERVAL=600, ROLE_RESOLVER="pm_realtime.roles.resolve_role")


class Late:
    """An application that begins after ``change``, which the middleware around it cannot know."""

    def __init__(self, change):
        self.change = change
        self.consumer = RealtimeConsumer.as_asgi()

    async def __call__(self, scope, receive, send):
        await self.change()
        await self.consumer(scope, receive, send)


class TokenMiddleware(BaseMiddleware):
    """Reads the user of a token, and notes something about it on the object."""

    def __init__(self, inner, user):
        super().__init__(inner)
        self.user = user

    async def __call__(self, scope, receive, send):
        user = await User.objects.aget(pk=self.user.pk)
        user.token_role = "admin"
        return await super().__call__({**scope, "user": user}, receive, send)


def role_of_token(user):
    return getattr(user, "token_role", "user")


async def deactivate(user, browser):
    await User.objects.filter(pk=user.pk).aupdate(is_active=False)


async def change_password(user, browser):
    await User.objects.filter(pk=user.pk).aupdate(password="another")


async def delete(user, browser):
    await sync_to_async(user.delete)()


async def log_out(user, browser):
    await browser.log_out()


async def log_in_as_another(user, browser):
    browser.user = await sync_to_async(User.objects.create_user)(username="another")
    await sync_to_async(browser.log_in_now)()


async def leave_groups(user, browser):
    await user.groups.aclear()


async def nothing(user, browser):
    pass


@pytest.mark.parametrize(
    "change", [deactivate, change_password, delete, log_out, log_in_as_another]
)
async def test_user_who_ended_after_channels_read_it_is_anonymous(editor, change):
    browser = await Browser.of(editor)
    headers = browser.headers
    application = AuthMiddlewareStack(Late(lambda: change(editor, browser)))
    async with Connection(headers=headers, application=application) as connection:
        assert connection.connected["userId"] is None


@pytest.mark.parametrize("change", [deactivate, delete])
async def test_user_who_ended_after_a_middleware_read_it_is_anonymous(editor, change):
    application = TokenMiddleware(Late(lambda: change(editor, None)), editor)
    async with Connection(application=application) as connection:
        assert connection.connected["userId"] is None


@pytest.mark.parametrize(("change", "role"), [(nothing, "editor"), (leave_groups, "user")])
@pytest.mark.parametrize("middleware", [AuthMiddlewareStack, TokenMiddleware])
async def test_role_is_that_of_the_present_groups(editor, middleware, change, role):
    browser = await Browser.of(editor)
    late = Late(lambda: change(editor, browser))
    application = (
        middleware(late) if middleware is AuthMiddlewareStack else middleware(late, editor)
    )
    async with Connection(headers=browser.headers, application=application) as connection:
        assert connection.connected["role"] == role


async def test_object_of_a_middleware_is_kept_if_the_user_has_not_changed(editor, configure):
    configure(ROLE_RESOLVER=f"{__name__}.role_of_token")
    application = TokenMiddleware(RealtimeConsumer.as_asgi(), editor)
    async with Connection(application=application) as connection:
        assert connection.connected["role"] == "admin"


def has_token(user, room):
    return user.token_role == "admin"


@pytest.mark.parametrize("is_changed", [False, True])
async def test_attributes_of_a_middleware_are_kept_when_the_user_is_read_again(
    editor, configure, is_changed
):
    configure(
        ROLE_RESOLVER=f"{__name__}.role_of_token",
        DEFAULT_ROOM={"authorize": f"{__name__}.has_token", "min_role": "admin"},
    )
    application = TokenMiddleware(RealtimeConsumer.as_asgi(), editor)
    async with (
        Connection(application=application) as connection,
        Connection(user=editor) as other,
    ):
        await connection.subscribe("before")
        if is_changed:
            editor.last_name = "Another"
            await editor.asave()
        else:
            await arefresh_user(editor)
        await asend_to_role("admin", "news")
        await connection.assert_push("news")
        await connection.subscribe("after")
        assert all(each["type"] != "unsubscribed" for each in connection.received)
        refusal = await other.ask("subscribe", {"room": "before"})
        assert refusal["payload"]["code"] == "FORBIDDEN"


class SeatsBackend(ModelBackend):
    """Notes on each user something that was read with it, as an annotation of a manager does."""

    seats = 1

    def get_user(self, user_id):
        user = super().get_user(user_id)
        user.seats = self.seats
        return user


def role_of_seats(user):
    return "admin" if user.seats else "user"


async def test_attribute_that_is_read_anew_wins_over_that_of_a_middleware(
    editor, configure, settings, monkeypatch
):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.SeatsBackend"]
    configure(ROLE_RESOLVER=f"{__name__}.role_of_seats")
    browser = await Browser.of(editor)
    application = AuthMiddlewareStack(RealtimeConsumer.as_asgi())
    async with Connection(headers=browser.headers, application=application) as connection:
        assert connection.connected["role"] == "admin"
        monkeypatch.setattr(SeatsBackend, "seats", 0)
        await arefresh_user(editor)
        await connection.so_far()
        await asend_to_role("admin", "news")
        assert "news" not in await connection.types_so_far()
