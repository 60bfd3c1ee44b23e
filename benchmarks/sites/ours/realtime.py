from decimal import Decimal
from typing import Annotated

import msgspec
from django.contrib.auth import get_user_model

from pm_realtime import Command, command


class Order(msgspec.Struct):
    body: str
    amount: Annotated[Decimal, msgspec.Meta(ge=0)]
    tags: list[str]


class Receipt(msgspec.Struct):
    body: str
    total: Decimal


@command("order.sync", public=True)
def accept(request: Command, payload: Order) -> Receipt:
    get_user_model().objects.filter(username=payload.body).exists()
    return Receipt(payload.body, payload.amount * 2)


@command("order.async", public=True)
async def accept_async(request: Command, payload: Order) -> Receipt:
    return Receipt(payload.body, payload.amount * 2)
