from decimal import Decimal
from typing import Literal

from channels.db import database_sync_to_async
from chanx.channels.websocket import AsyncJsonWebsocketConsumer
from chanx.core.decorators import ws_handler
from chanx.messages.base import BaseMessage
from django.contrib.auth import get_user_model
from pydantic import BaseModel, Field


class Order(BaseModel):
    body: str
    amount: Decimal = Field(ge=0)
    tags: list[str]


class Receipt(BaseModel):
    body: str
    total: Decimal


class SyncOrder(BaseMessage):
    action: Literal["order_sync"] = "order_sync"
    payload: Order


class AsyncOrder(BaseMessage):
    action: Literal["order_async"] = "order_async"
    payload: Order


class Accepted(BaseMessage):
    action: Literal["accepted"] = "accepted"
    payload: Receipt


def accept(order: Order) -> Receipt:
    get_user_model().objects.filter(username=order.body).exists()
    return accept_at_once(order)


def accept_at_once(order: Order) -> Receipt:
    return Receipt(body=order.body, total=order.amount * 2)


class Orders(AsyncJsonWebsocketConsumer):
    """As in https://chanx.readthedocs.io/ : a handler returns the message that answers."""

    @ws_handler
    async def handle_sync(self, message: SyncOrder) -> Accepted:
        return Accepted(payload=await database_sync_to_async(accept)(message.payload))

    @ws_handler
    async def handle_async(self, message: AsyncOrder) -> Accepted:
        return Accepted(payload=accept_at_once(message.payload))
