from typing import Literal

from channels.db import database_sync_to_async
from chanx.channels.websocket import AsyncJsonWebsocketConsumer
from chanx.core.decorators import ws_handler
from chanx.messages.base import BaseMessage

from benchmarks.sites.shop import Order, Receipt, accept, accept_at_once


class SyncOrder(BaseMessage):
    action: Literal["order_sync"] = "order_sync"
    payload: Order


class AsyncOrder(BaseMessage):
    action: Literal["order_async"] = "order_async"
    payload: Order


class Accepted(BaseMessage):
    action: Literal["accepted"] = "accepted"
    payload: Receipt


class OrderConsumer(AsyncJsonWebsocketConsumer):
    """As in https://chanx.readthedocs.io/ : a handler returns the message that answers."""

    @ws_handler
    async def handle_sync(self, message: SyncOrder) -> Accepted:
        return Accepted(payload=await database_sync_to_async(accept)(message.payload))

    @ws_handler
    async def handle_async(self, message: AsyncOrder) -> Accepted:
        return Accepted(payload=accept_at_once(message.payload))
