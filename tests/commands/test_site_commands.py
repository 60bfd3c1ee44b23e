"""Commands of the site: who may send them, what their functions get, and their answers."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

import msgspec
import pytest

from pm_realtime import Command, command
from tests.support.helpers import Connection, assert_envelope

pytestmark = pytest.mark.usefixtures("leaves_nothing", "no_commands")


@dataclass
class Bid:
    amount: Annotated[int, msgspec.Meta(gt=0)]


class Receipt(msgspec.Struct, rename="camel"):
    bid_amount: Decimal


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
