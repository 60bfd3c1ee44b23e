"""Pushes whose types a site has declared."""

from decimal import Decimal
from typing import Annotated

import msgspec
import pytest
from django.core.exceptions import ImproperlyConfigured

from pm_realtime import push_type
from pm_realtime.exceptions import PayloadError
from pm_realtime.testing import capture_pushes
from tests.support.helpers import Connection

pytestmark = pytest.mark.usefixtures("declarations", "leaves_nothing")


class Price(msgspec.Struct, rename="camel"):
    in_euro: Annotated[Decimal, msgspec.Meta(ge=0)]


class SecretPrice(Price):
    secret: int


def calls(helpers, connection, user):
    """Return the helpers of pushes, each with its target."""
    return [
        (helpers.send_to_user, user),
        (helpers.send_to_room, "hall"),
        (helpers.send_to_role, "user"),
        (helpers.send_to_connection, connection.connection_id),
    ]


async def test_payload_is_written_as_its_type(helpers, user):
    push_type("auction.price", Price)
    async with Connection(user=user) as connection:
        await connection.subscribe("hall")
        for send, target in calls(helpers, connection, user):
            for payload in (Price(Decimal("1.50")), SecretPrice(Decimal("1.50"), 1)):
                envelope = await send(target, "auction.price", payload)
                assert envelope.payload is payload
                await connection.assert_push("auction.price", {"inEuro": "1.50"})
        await helpers.broadcast("auction.price", {"inEuro": 3, "more": 1})
        await connection.assert_push("auction.price", {"inEuro": "3"})


async def test_payload_of_another_type_is_refused_where_it_is_written(helpers, user):
    push_type("auction.price", Price)
    async with Connection(user=user) as connection:
        await connection.subscribe("hall")
        for send, target in calls(helpers, connection, user):
            with pytest.raises(PayloadError) as caught:
                await send(target, "auction.price", Price(Decimal(-1)))
            assert caught.value.path == "inEuro"
            assert str(caught.value) == (
                f"The payload of a 'auction.price' push is not of the type that {__name__} "
                "declares: inEuro: Expected `decimal` >= 0."
            )
            with pytest.raises(PayloadError):
                await send(target, "auction.price")
        await connection.assert_nothing()


async def test_push_without_a_payload_may_be_declared(helpers, user):
    push_type("auction.ended", None)
    with capture_pushes() as pushes:
        await helpers.send_to_user(user, "auction.ended")
    assert [each.payload for each in pushes.to_user(user)] == [None]
    with pytest.raises(PayloadError):
        await helpers.send_to_user(user, "auction.ended", {})


async def test_captured_push_is_as_its_type_has_it(helpers, user):
    push_type("auction.price", Price)
    with capture_pushes() as pushes:
        await helpers.send_to_user(user, "auction.price", SecretPrice(Decimal(2), 1))
    assert [each.payload for each in pushes.to_user(user)] == [{"inEuro": "2"}]


async def test_type_that_cannot_be_read_is_a_fault_of_the_declaration(helpers, user):
    push_type("auction.price", complex)
    with pytest.raises(ImproperlyConfigured, match=r"push_type\('auction.price', "):
        await helpers.send_to_user(user, "auction.price", 1)
