from decimal import Decimal
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth import get_user_model
from pydantic import BaseModel, Field, ValidationError


class Order(BaseModel):
    body: str
    amount: Decimal = Field(ge=0)
    tags: list[str]


class Receipt(BaseModel):
    body: str
    total: Decimal


def accept(order: Order) -> Receipt:
    get_user_model().objects.filter(username=order.body).exists()
    return accept_at_once(order)


def accept_at_once(order: Order) -> Receipt:
    return Receipt(body=order.body, total=order.amount * 2)


class Orders(AsyncJsonWebsocketConsumer):
    """``{"type", "id", "payload"}`` is answered with ``result`` or ``error`` under the ``id``."""

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        try:
            order = Order.model_validate(content["payload"])
        except ValidationError as error:
            await self._answer("error", content, error.errors()[0]["msg"])
            return
        if content["type"] == "order.sync":
            receipt = await database_sync_to_async(accept)(order)
        else:
            receipt = accept_at_once(order)
        await self._answer("result", content, receipt.model_dump(mode="json"))

    async def _answer(self, type: str, command: Any, payload: Any) -> None:
        await self.send_json({"type": type, "id": command["id"], "payload": payload})
