"""Commands of the site: the rights to them, the arguments of their functions, their answers."""

import asyncio
import json
import threading
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

import msgspec
import pytest
from asgiref.sync import sync_to_async

from pm_realtime import Command, CommandError, aunsubscribe, command
from tests.support.commands import Gate, in_room, lose_role
from tests.support.helpers import (
    Connection,
    assert_envelope,
    assert_refusal,
    errors_of,
    eventually,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing", "no_commands")


@dataclass
class Bid:
    amount: Annotated[int, msgspec.Meta(gt=0)]


class Receipt(msgspec.Struct, rename="camel"):
    bid_amount: Decimal


@pytest.fixture
def calls():
    """The arguments of the calls of the test's functions."""
    return []


@pytest.fixture
def auctions(configure):
    configure(ROOMS={"auction:<int:pk>": {"public": True}}, DEFAULT_ROOM={"public": True})


# The function and its answer


@pytest.mark.parametrize("is_async", [False, True])
async def test_command_is_answered_with_what_its_function_returns(user, is_async):
    if is_async:

        @command("bid")
        async def bid(request: Command, payload: Bid) -> Receipt:
            return Receipt(Decimal(payload.amount))
    else:

        @command("bid")
        def bid(request: Command, payload: Bid) -> Receipt:
            return Receipt(Decimal(payload.amount))

    async with Connection(user=user) as connection:
        answer = await connection.ask("bid", {"amount": 5}, id="a")
        assert_envelope(answer, type="result", id="a", payload={"bidAmount": "5"})


async def test_function_gets_the_request_the_payload_and_the_values_of_the_route(
    auctions, user, calls
):
    @command("bid", room="auction:<int:pk>")
    def bid(request: Command, pk: int, payload: Bid):
        calls.append((request, pk, payload))

    async with Connection(user=user) as connection:
        await connection.subscribe("auction:7")
        answer = await connection.ask_raw(in_room("bid", "auction:7", {"amount": 5}, "a"))
        assert_envelope(answer, type="result", id="a", payload=None)
        ((request, *values),) = calls
        assert values == [7, Bid(5)]
        assert (request.type, request.id, request.room) == ("bid", "a", "auction:7")
        assert (request.user, request.role, request.payload) == (user, "user", Bid(5))
        assert request.connection_id == connection.connection_id


async def test_command_without_an_id_has_no_answer_but_an_error(user, calls):
    @command("bid")
    def bid(request, payload: int):
        calls.append(payload)
        if payload == 2:
            raise CommandError("NO", "Not this one.")

    async with Connection(user=user) as connection:
        await connection.send_frame('{"type": "bid", "payload": 1, "timestamp": 1}')
        refusal = await connection.ask_raw('{"type": "bid", "payload": 2, "timestamp": 1}')
        assert_refusal(refusal, "NO", id=None)
        await eventually(lambda: sorted(calls) == [1, 2])
        assert await connection.so_far() == []


async def test_room_of_a_command_about_the_user_is_ignored(user, calls):
    @command("rename")
    def rename(request):
        calls.append(request.room)

    async with Connection(user=user) as connection:
        answer = await connection.ask_raw(in_room("rename", "no such room", id="a"))
        assert_envelope(answer, type="result", id="a", payload=None)
    assert calls == [None]


# Refusals


async def test_payload_that_does_not_fit_is_refused_before_the_function_is_called(user, calls):
    @command("bid")
    def bid(request, payload: Bid):
        calls.append(payload)

    async with Connection(user=user) as connection:
        for payload in ({"amount": 0}, {"amount": "5"}, {"amount": None}, {}):
            refusal = await connection.ask("bid", payload, id="a")
            assert_refusal(refusal, "INVALID_PAYLOAD", id="a", path="amount")
        for payload in (None, []):
            refusal = await connection.ask("bid", payload, id="a")
            assert_refusal(refusal, "INVALID_PAYLOAD", id="a", path="")
    assert calls == []


async def test_visitor_sends_public_commands_only(transactional_db, calls):
    @command("vote", public=True)
    def vote(request):
        calls.append((request.user.is_authenticated, request.role))

    @command("bid")
    def bid(request):
        calls.append("never")

    async with Connection() as connection:
        assert_refusal(await connection.ask("bid", id="a"), "AUTH_REQUIRED", id="a")
        assert_envelope(await connection.ask("vote", id="b"), type="result", id="b", payload=None)
    assert calls == [(False, None)]


async def test_lower_role_is_refused(users, calls):
    @command("end", min_role="editor")
    def end(request):
        calls.append(request.role)

    for role in users:
        async with Connection(user=users[role]) as connection:
            answer = await connection.ask("end", id="a")
            if role == "user":
                assert_refusal(answer, "FORBIDDEN", id="a")
    assert calls == ["editor", "admin", "master"]


async def test_rights_are_refused_before_the_payload_and_name_the_room(auctions, user, calls):
    @command("end", room="auction:<int:pk>", min_role="editor")
    def end(request, pk: int, payload: Bid):
        calls.append(pk)

    async with Connection(user=user) as connection:
        refusal = await connection.ask_raw(in_room("end", "auction:7", "no bid", "a"))
        assert_refusal(refusal, "FORBIDDEN", id="a", room="auction:7")
    async with Connection() as visitor:
        refusal = await visitor.ask_raw(in_room("end", "auction:7", "no bid", "a"))
        assert_refusal(refusal, "AUTH_REQUIRED", id="a", room="auction:7")
    assert calls == []


async def test_room_has_to_be_one_that_fits_the_route(auctions, user, calls):
    @command("bid", room="auction:<int:pk>")
    def bid(request, pk: int):
        calls.append(pk)

    async with Connection(user=user) as connection:
        for room in (None, "auction:x", "auction:", "lobby", "a\x00"):
            refusal = await connection.ask_raw(in_room("bid", room, id="a"))
            assert_refusal(refusal, "INVALID_ROOM", id="a")
        assert "auction:<int:pk>" in refusal["payload"]["message"] or room == "a\x00"
    assert calls == []


async def test_command_about_a_room_needs_a_client_that_is_in_it(auctions, user, calls):
    @command("bid", room="auction:<int:pk>")
    def bid(request, pk: int):
        calls.append(pk)

    @command("look", room="auction:<int:pk>", joined=False)
    def look(request, pk: int):
        calls.append(-pk)

    async with Connection(user=user) as connection:
        await connection.subscribe("auction:7")
        refusal = await connection.ask_raw(in_room("bid", "auction:8", id="a"))
        assert_refusal(refusal, "NOT_IN_ROOM", id="a", room="auction:8")
        await connection.ask_raw(in_room("look", "auction:8", id="b"))
    assert calls == [-8]


async def test_error_of_the_site_reaches_the_client_with_its_data(user):
    @command("bid")
    def bid(request):
        data = {"endedAt": Decimal("1.5"), "by": ["a"]}
        raise CommandError("AUCTION_OVER", "The auction is over.", data=data, extra=1)

    async with Connection(user=user) as connection:
        answer = await connection.ask("bid", id="a")
        more = {"data": {"endedAt": "1.5", "by": ["a"]}, "extra": 1}
        assert_refusal(answer, "AUCTION_OVER", id="a", **more)


async def returns_no_bid(request) -> Bid:
    return "secret"


async def raises(request):
    raise RuntimeError("secret")


async def is_cancelled(request):
    raise asyncio.CancelledError("secret")


async def stops(request):
    raise StopIteration("secret")


class Panic(BaseException):
    """As an extension in another language raises."""


async def panics(request):
    raise Panic("secret")


async def exits(request):
    raise SystemExit("secret")


async def interrupts(request):
    raise KeyboardInterrupt("secret")


async def ends_a_generator(request):
    raise GeneratorExit("secret")


async def raises_what_cannot_be_written(request):
    raise CommandError("X", "An error.", data=object())


async def returns_what_cannot_be_written(request):
    return object()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        returns_no_bid,
        raises,
        is_cancelled,
        stops,
        panics,
        exits,
        interrupts,
        ends_a_generator,
        raises_what_cannot_be_written,
        returns_what_cannot_be_written,
    ],
)
async def test_other_errors_are_logged_once_and_tell_the_client_nothing(
    user, caplog, function, is_async
):
    def in_thread(request) -> function.__annotations__.get("return"):
        coroutine = function(request)
        try:
            coroutine.send(None)
        except StopIteration as result:
            return result.value

    if "return" not in function.__annotations__:
        del in_thread.__annotations__["return"]
    command("fail")(function if is_async else in_thread)
    async with Connection(user=user) as connection:
        for id in "ab":
            answer = await connection.ask("fail", id=id)
            assert_refusal(answer, "INTERNAL_ERROR", id=id)
            assert "secret" not in json.dumps(answer)
        assert await connection.is_alive()
    (record,) = errors_of(caplog)
    assert record.getMessage() in (
        "The command fail failed.",
        "The command fail returned what cannot be sent.",
        "The error X of fail could not be written.",
    )


async def test_mistake_in_a_declaration_refuses_the_command_and_is_logged_once(user, caplog):
    @command("bid", rate="often")
    def bid(request):
        raise AssertionError

    async with Connection(user=user) as connection:
        for id in "ab":
            assert_refusal(await connection.ask("bid", id=id), "INTERNAL_ERROR", id=id)
    (record,) = errors_of(caplog)
    assert "bid" in record.getMessage()
    assert "often" in record.getMessage()


# The rate


async def test_rate_of_a_command_counts_it_alone(configure, user, calls):
    configure(RATE_LIMIT="1/h")

    @command("bid", rate="2/h")
    def bid(request):
        calls.append(1)

    async with Connection(user=user) as connection:
        for _ in range(2):
            assert (await connection.ask("bid"))["type"] == "result"
        refusal = await connection.ask("bid", id="a")
        retry_after = refusal["payload"]["retryAfter"]
        assert_refusal(refusal, "RATE_LIMITED", id="a", retryAfter=retry_after)
        assert (await connection.ask("ping"))["type"] == "pong"
    assert calls == [1, 1]


async def test_refusals_for_rights_count_and_malformed_payloads_do_not(configure, user):
    @command("end", min_role="editor", rate="2/h")
    def end(request):
        raise AssertionError

    @command("bid", rate="2/h")
    def bid(request, payload: Bid):
        pass

    async with Connection(user=user) as connection:
        answers = [await connection.ask("end") for _ in range(3)]
        codes = [answer["payload"]["code"] for answer in answers]
        assert codes == ["FORBIDDEN", "FORBIDDEN", "RATE_LIMITED"]
        for payload in (1, 2, 3, {"amount": 1}, {"amount": 1}):
            answer = await connection.ask("bid", payload)
        assert answer["type"] == "result"


# Rights that change


async def test_command_waits_while_the_rights_are_in_doubt(make_user, calls):
    """Nobody who has just lost a role still acts in it."""

    @command("end", min_role="master")
    def end(request):
        calls.append(request.role)

    user = await sync_to_async(make_user)("master")
    async with Connection(user=user) as connection:
        await lose_role(user)
        assert_refusal(await connection.ask("end", id="a"), "FORBIDDEN", id="a")
    assert calls == []


async def test_command_that_waits_for_a_free_call_is_refused_after_the_role_was_lost(
    make_user, calls, configure
):
    configure(RATE_LIMIT=None)
    may_end = threading.Event()

    @command("end", min_role="master", atomic=False)
    def end(request):
        calls.append(request.role)
        may_end.wait(10)

    user = await sync_to_async(make_user)("master")
    async with Connection(user=user) as connection:
        for _ in range(33):
            await connection.command("end")
        await eventually(lambda: len(calls) == 32)
        await lose_role(user)
        may_end.set()
        answers = [await connection.receive() for _ in range(33)]
    (refusal,) = [answer for answer in answers if answer["type"] == "error"]
    assert refusal["payload"]["code"] == "FORBIDDEN"
    assert len(calls) == 32


async def test_command_that_waits_behind_another_is_refused_after_its_room_was_left(
    auctions, user, calls
):
    may_end = threading.Event()

    @command("bid", room="auction:<int:pk>")
    def bid(request, pk: int, payload: int):
        calls.append(payload)
        may_end.wait(10)

    async with Connection(user=user) as connection:
        await connection.subscribe("auction:7")
        await connection.send_frame(in_room("bid", "auction:7", 1, "a"))
        await connection.send_frame(in_room("bid", "auction:7", 2, "b"))
        await eventually(lambda: calls)
        await aunsubscribe(connection.connection_id, "auction:7")
        await connection.assert_push("unsubscribed")
        may_end.set()
        await connection.assert_reply("a", "result")
        await connection.assert_error("b", "NOT_IN_ROOM")
    assert calls == [1]


async def test_function_gets_the_user_as_it_is_when_it_begins(make_user, configure, calls):
    configure(RATE_LIMIT=None)
    gate = Gate()

    @command("act", atomic=False)
    def act(request):
        calls.append(request.role)
        gate.wait()

    user = await sync_to_async(make_user)("master")
    async with Connection(user=user) as connection:
        for _ in range(33):
            await connection.command("act")
        await eventually(lambda: len(calls) == 32)
        await lose_role(user)
        gate.open()
        answers = [await connection.receive() for _ in range(33)]
    assert {answer["type"] for answer in answers} == {"result"}
    assert calls == ["master"] * 32 + ["user"]
