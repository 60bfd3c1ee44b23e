from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from pydantic import ValidationError

from benchmarks.sites.shop import Order, accept, accept_at_once


class OrderConsumer(AsyncJsonWebsocketConsumer):
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
