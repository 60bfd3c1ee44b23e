"""Calls of a site's commands in its tests."""

from datetime import date
from decimal import Decimal
from typing import Annotated

import msgspec
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection as database

from pm_realtime import Command, CommandError, command, send_to_room
from pm_realtime.commands import DECLARATIONS
from pm_realtime.exceptions import PayloadError
from pm_realtime.testing import (
    CommandFailed,
    RealtimeCommunicator,
    acall_command_handler,
    call_command_handler,
    capture_pushes,
)


class Offer(msgspec.Struct):
    amount: Annotated[int, msgspec.Meta(gt=0)]


class Receipt(msgspec.Struct):
    amount: int
    on: date


@pytest.fixture(autouse=True)
def declared():
    """The commands of a test are there only for it."""
    before = dict(DECLARATIONS)
    yield DECLARATIONS
    DECLARATIONS.clear()
    DECLARATIONS.update(before)


@pytest.fixture
def bid():
    @command("auction.bid", room="auction:<int:pk>")
    def bid(request: Command, payload: Offer, pk: int) -> Receipt:
        send_to_room(request.room, "price", payload.amount)
        if payload.amount == 13:
            raise CommandError("UNLUCKY", "Choose another.", data={"pk": pk})
        return Receipt(payload.amount, date(2026, 12, 1))

    return bid


def test_function_is_called_with_its_types_and_returns_its_value(bid, user):
    receipt = Receipt(7, date(2026, 12, 1))
    assert call_command_handler(bid, user=user, payload={"amount": 7}, pk=3) == receipt
    assert call_command_handler(bid, user=user, payload=Offer(7), room="auction:3") == receipt


def test_request_is_that_of_the_client(editor):
    @command("who", room="auction:<int:pk>/<slug:part>")
    def who(request: Command, part: str, pk: int) -> list[str | None]:
        assert request.user is editor
        return [request.type, request.room, request.role, request.id, str(request.payload), part]

    found = call_command_handler(who, user=editor, payload={"a": 1}, id="c1", pk=3, part="b")
    assert found == ["who", "auction:3/b", "editor", "c1", "{'a': 1}", "b"]
    assert call_command_handler(who, user=editor, pk=3, part="b")[3]


@pytest.mark.parametrize("payload", [None, {}, {"amount": 0}, {"amount": "7"}, Offer(-1)])
def test_payload_that_does_not_fit_is_refused_as_for_a_client(bid, user, payload):
    with pytest.raises(CommandError, match=r"Expected|missing") as refused:
        call_command_handler(bid, user=user, payload=payload, pk=3)
    assert refused.value.code == "INVALID_PAYLOAD"
    assert refused.value.details["path"] == ("" if payload is None else "amount")
    assert refused.value.room == "auction:3"


@pytest.mark.parametrize("visitor", [None, AnonymousUser()])
def test_rights_are_those_of_the_command(user, editor, visitor):
    @command("edit", min_role="editor")
    def edit(request: Command) -> bool:
        return request.user.is_authenticated

    assert call_command_handler(edit, user=editor) is True
    for refused_user, code in (user, "FORBIDDEN"), (visitor, "AUTH_REQUIRED"):
        with pytest.raises(CommandError) as refused:
            call_command_handler(edit, user=refused_user)
        assert refused.value.code == code

    @command("read", public=True)
    def read(request: Command) -> bool:
        return request.user.is_authenticated

    assert call_command_handler(read, user=visitor) is False


def test_error_rolls_back_and_pushes_nothing(bid, user):
    @command("rename")
    def rename(request: Command, payload: str) -> int:
        assert database.in_atomic_block
        get_user_model().objects.update(first_name=payload)
        send_to_room("names", "renamed")
        raise CommandError("NO", "No.")

    with capture_pushes() as pushes:
        with pytest.raises(CommandError, match="No"):
            call_command_handler(rename, user=user, payload="Grace")
        with pytest.raises(CommandError) as refused:
            call_command_handler(bid, user=user, payload={"amount": 13}, pk=3)
        assert refused.value.details == {"data": {"pk": 3}}
        assert pushes == []
        call_command_handler(bid, user=user, payload={"amount": 12}, pk=3)
        assert [each.payload for each in pushes.to_room("auction:3")] == [12]
    user.refresh_from_db()
    assert user.first_name != "Grace"


def test_result_that_no_client_could_get_is_an_error(user):
    @command("typed")
    def typed(request: Command, payload: int) -> Receipt:
        return Receipt("no number", date(2026, 12, 1)) if payload else {"amount": 1}

    @command("untyped")
    def untyped(request: Command):
        return object()

    for payload in 0, 1:
        with pytest.raises(PayloadError, match=r"amount|on"):
            call_command_handler(typed, user=user, payload=payload)
    with pytest.raises(PayloadError, match="object"):
        call_command_handler(untyped, user=user)


def test_mistake_in_a_call_is_a_sentence(bid, user):
    with pytest.raises(TypeError, match=r"values of auction:<int:pk> \(pk\), got \[\]"):
        call_command_handler(bid, user=user, payload={"amount": 1})
    with pytest.raises(PayloadError, match=r"The payload of 'auction\.bid' cannot be written"):
        call_command_handler(bid, user=user, payload=object(), pk=3)
    with pytest.raises(TypeError, match="got both: pk"):
        call_command_handler(bid, user=user, payload={"amount": 1}, room="auction:3", pk=4)
    with pytest.raises(TypeError, match=r"Expected a user or None, got 7 \(int\)"):
        call_command_handler(bid, user=7, payload={"amount": 1}, pk=3)
    with pytest.raises(TypeError, match="@command has registered, got dict"):
        call_command_handler(dict, user=user)
    with pytest.raises(CommandError, match="auction:<int:pk>") as refused:
        call_command_handler(bid, user=user, room="auction:x", payload={"amount": 1})
    assert refused.value.code == "INVALID_ROOM"

    @command("plain")
    async def plain(request: Command) -> None: ...

    with pytest.raises(TypeError, match="acall_command_handler"):
        call_command_handler(plain, user=user)


def test_room_of_a_command_without_one_is_ignored_as_by_the_server(user):
    @command("room")
    def room(request: Command) -> str | None:
        return request.room

    assert call_command_handler(room, user=user, room="auction:3") is None


async def test_async_call_takes_async_functions_and_sync_ones(bid, user):
    @command("double", room="auction:<int:pk>")
    async def double(request: Command, payload: Decimal, pk: int) -> Decimal:
        return payload * pk

    assert await acall_command_handler(double, user=user, payload="1.50", pk=3) == Decimal("4.50")
    receipt = await acall_command_handler(bid, user=user, payload={"amount": 7}, pk=3)
    assert receipt.amount == 7
    with pytest.raises(CommandError) as refused:
        await acall_command_handler(double, user=user, payload="x", pk=3)
    assert refused.value.code == "INVALID_PAYLOAD"


async def test_connection_calls_a_command(bid, user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("auction:3")
        result = await connection.call("auction.bid", Offer(7), room="auction:3", id="c1")
        assert result == {"amount": 7, "on": "2026-12-01"}
        await connection.assert_push("price", 7)
        again = await connection.call("auction.bid", {"amount": 7}, room="auction:3", id="c1")
        assert again == result
        await connection.assert_nothing()


async def test_failed_call_has_the_error(bid, user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("auction:3")
        with pytest.raises(CommandFailed, match="UNLUCKY") as failed:
            await connection.call("auction.bid", {"amount": 13}, room="auction:3")
        assert (failed.value.code, failed.value.data) == ("UNLUCKY", {"pk": 3})
        with pytest.raises(CommandFailed) as failed:
            await connection.call("auction.bid", {"amount": 0}, room="auction:3")
        assert (failed.value.code, failed.value.path) == ("INVALID_PAYLOAD", "amount")
        with pytest.raises(AssertionError, match="Expected a 'result'"):
            await connection.call("ping")


async def test_forgotten_history_has_no_results(bid, user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("auction:3")
        for _ in range(2):
            await connection.call("auction.bid", {"amount": 7}, room="auction:3", id="c1")
            await connection.assert_push("price", 7)
            await connection.forget_history()
