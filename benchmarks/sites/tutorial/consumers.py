import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer


class ChatConsumer(AsyncWebsocketConsumer):
    """As in https://channels.readthedocs.io/en/stable/tutorial/part_3.html"""

    async def connect(self) -> None:
        self.room_name = self.scope["url_route"]["kwargs"]["room_name"]
        self.room_group_name = f"chat_{self.room_name}"
        await self.channel_layer.group_add(self.room_group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room_group_name, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        text_data_json = json.loads(text_data or "")
        message = text_data_json["message"]
        event = {"type": "chat.message", "message": message}
        await self.channel_layer.group_send(self.room_group_name, event)

    async def chat_message(self, event: dict[str, Any]) -> None:
        message = event["message"]
        await self.send(text_data=json.dumps({"message": message}))
