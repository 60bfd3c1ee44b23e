"""Names and ids of users as others see them."""

import asyncio
import enum
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from pm_realtime.auth.identity import identity_of
from pm_realtime.auth.names import name_of
from pm_realtime.roles import role_of
from pm_realtime.testing import RealtimeCommunicator
from tests.people.models import Bare, Member

User = get_user_model()


def nameless(**fields):
    user = SimpleNamespace(first_name=None, last_name=None, **fields)
    user.get_full_name = lambda: AbstractUser.get_full_name(user)
    user.get_username = lambda: user.username
    return user


def full_name(name, username="ada", **fields):
    return SimpleNamespace(get_full_name=lambda: name, get_username=lambda: username, **fields)


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (User(username="ada", first_name="Ada", last_name="Lovelace"), "Ada Lovelace"),
        (User(username="ada", first_name="Ada"), "Ada"),
        (User(username="ada", email="ada@example.com"), "ada"),
        (User(username="@ada"), "@ada"),
        (User(username="ada@example.com"), ""),
        (User(username="ADA@EXAMPLE.COM", first_name="Ada"), "Ada"),
        (User(username="ada@localhost"), ""),
        (User(username="ada@bücher.example"), ""),
        (User(username="ada", first_name="ada@example.com"), "ada"),
        (User(username="ada", first_name="Ada", last_name="<ada@example.com>"), "ada"),
        (User(username="ada", first_name="Ada", last_name="None"), "Ada None"),
        (User(username="None"), "None"),
        (User(username=""), ""),
        (Bare(email="ada@example.com"), ""),
        (Bare(email="no address"), ""),
        (Member(username="ada"), "ada"),
        (Member(username="ada@example.com"), ""),
        (nameless(username="ada"), "ada"),
        (nameless(username=None), ""),
        (nameless(username="ada@example.com"), ""),
        (full_name("Ada None", last_name=None), "Ada"),
        (full_name("None Lovelace"), "Lovelace"),
        (full_name(f"{None} {None}"), "ada"),
        (full_name("None None", nickname="None"), "None None"),
        (full_name("None, None"), "ada"),
        (full_name("None, Ada"), "Ada"),
        (full_name("Ada (None)"), "Ada"),
        (full_name("None (staff)"), "(staff)"),
        (full_name("Nonesuch"), "Nonesuch"),
        (SimpleLazyObject(lambda: User(username="ada", first_name="None")), "None"),
        (full_name(None), "ada"),
        (full_name(""), "ada"),
        (full_name("  "), "ada"),
        (full_name(" Ada "), "Ada"),
        (full_name("ada@example.com", username="ada@example.com"), ""),
        (full_name(None, username=None), ""),
        (full_name(format_html("<b>{}</b>", "Ada")), "<b>Ada</b>"),
        (full_name(gettext_lazy("Yes")), "Yes"),
        (SimpleNamespace(get_full_name="Ada", get_username=lambda: "x"), "Ada"),
        (SimpleNamespace(get_username=lambda: "ada"), "ada"),
        (SimpleNamespace(), ""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_default_name_is_the_full_name_or_the_username_but_no_address(user, name):
    assert name_of(user) == name
    assert type(name_of(user)) is str


def test_username_is_not_shown_if_it_is_the_address_field_of_the_model():
    class Account(SimpleNamespace):
        USERNAME_FIELD = EMAIL_FIELD = "login"
        get_email_field_name = classmethod(AbstractBaseUser.get_email_field_name.__func__)
        get_username = AbstractBaseUser.get_username

    assert name_of(Account(login="nobody")) == ""


async def test_user_whose_full_name_raises_is_shown_by_the_username(user, monkeypatch, caplog):
    monkeypatch.setattr(User, "get_full_name", lambda self: "Dr. " + None)
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("lobby")
        await connection.command("message", {"room": "lobby", "content": 1})
        message = await connection.assert_push("message")
        assert message["payload"]["from"]["name"] == "the-user"
    assert "The name of a user could not be read" in caplog.text


def test_full_name_that_cannot_be_read_from_the_database_is_no_name():
    def away():
        raise OperationalError("away")

    with pytest.raises(OperationalError):
        name_of(SimpleNamespace(get_full_name=away, get_username=lambda: "ada"))


def shouted(user):
    return format_html("<b>{}</b>", user.username.upper())


@pytest.mark.parametrize(
    ("returned", "name"),
    [("Ada", "Ada"), (None, ""), ("", ""), ("a@b.c", "a@b.c"), (gettext_lazy("Yes"), "Yes")],
)
def test_resolver_of_the_site_decides(configure, monkeypatch, returned, name):
    configure(NAME_RESOLVER=f"{__name__}.shouted")
    monkeypatch.setitem(globals(), "shouted", lambda user: returned)
    assert name_of(User(username="ada")) == name


@pytest.mark.parametrize("returned", [5, True, b"Ada", ["Ada"], object()])
def test_resolver_that_returns_no_text_is_named_in_the_error(configure, monkeypatch, returned):
    configure(NAME_RESOLVER=f"{__name__}.shouted")
    monkeypatch.setitem(globals(), "shouted", lambda user: returned)
    with pytest.raises(ImproperlyConfigured, match=r"test_names\.shouted must return a text, got"):
        name_of(User(username="ada"))


async def test_name_of_the_resolver_reaches_others_as_plain_text(configure, user):
    configure(NAME_RESOLVER=f"{__name__}.shouted")
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("lobby")
        await connection.command("message", {"room": "lobby", "content": 1})
        message = await connection.assert_push("message")
        assert message["payload"]["from"]["name"] == "<b>THE-USER</b>"


async def test_user_with_a_safe_full_name_can_send_messages(user, monkeypatch):
    monkeypatch.setattr(User, "get_full_name", lambda self: format_html("<i>{}</i>", "Uma"))
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("lobby")
        await connection.command("message", {"room": "lobby", "content": 1})
        message = await connection.assert_push("message")
        assert message["payload"]["from"]["name"] == "<i>Uma</i>"


# Ids


@pytest.mark.parametrize(
    ("key", "user_id"),
    [
        (1, 1),
        (0, 0),
        (-5, -5),
        (2**53 - 1, 2**53 - 1),
        (-(2**53) + 1, -(2**53) + 1),
        (2**53, str(2**53)),
        (2**53 + 1, str(2**53 + 1)),
        (-(2**53), str(-(2**53))),
        (2**63 - 1, str(2**63 - 1)),
        (2**80, str(2**80)),
        ("7", "7"),
        (enum.IntEnum("Key", {"BIG": 2**60, "SMALL": 7}).BIG, str(2**60)),
        (enum.IntEnum("Key", {"BIG": 2**60, "SMALL": 7}).SMALL, 7),
    ],
)
def test_id_that_javascript_cannot_hold_as_a_number_is_text(key, user_id):
    user = SimpleNamespace(pk=key, is_authenticated=True)
    found = identity_of(user, None, None).user_id
    assert found == user_id
    assert type(found) is type(user_id)


# Roles


class Role(str, enum.Enum):  # noqa: UP042 - Its `str()` is the name of the member.
    USER = "user"
    BOSS = "boss"


def boss(user):
    return Role.BOSS


async def test_role_may_be_a_member_of_an_enum(configure, user):
    configure(ROLES=list(Role), ROLE_RESOLVER=f"{__name__}.boss", ROOMS={"r": {"min_role": "boss"}})
    role = await asyncio.to_thread(role_of, user)
    assert (role, type(role)) == ("boss", str)
    async with RealtimeCommunicator(user=user) as connection:
        assert connection.connected["role"] == "boss"
        await connection.subscribe("r")


async def test_default_role_from_an_enum_is_plain_text(configure, user):
    configure(ROLES=list(Role))
    role = await sync_to_async(role_of)(user)
    assert (role, type(role)) == ("user", str)
