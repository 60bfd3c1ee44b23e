from channels.generic.websocket import AsyncJsonWebsocketConsumer


class Greeter(AsyncJsonWebsocketConsumer):
    """Sends the user of the session, as pm_realtime does with ``connected``."""

    async def connect(self) -> None:
        await self.accept()
        user = self.scope["user"]
        payload = {"user": {"id": user.pk, "username": user.get_username()}}
        await self.send_json({"type": "connected", "payload": payload})
