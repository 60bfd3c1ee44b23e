"""The payload, the function and the result of a command, for the sites that use pydantic."""

from decimal import Decimal

from django.contrib.auth import get_user_model
from pydantic import BaseModel, Field


class Order(BaseModel):
    body: str
    amount: Decimal = Field(ge=0)
    tags: list[str]


class Receipt(BaseModel):
    body: str
    total: Decimal


def accept(order: Order) -> Receipt:
    """As a sync function does, with a query."""
    get_user_model().objects.filter(username=order.body).exists()
    return accept_at_once(order)


def accept_at_once(order: Order) -> Receipt:
    return Receipt(body=order.body, total=order.amount * 2)
