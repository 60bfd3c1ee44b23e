"""A site with the settings in the first argument serves a connection with each of some cookies.

Writes what they received, as JSON.
"""

import asyncio
import json
import sys

import django
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.core.checks import run_checks

from pm_realtime import aget_stats, arefresh_user, asend_to_room, asend_to_user
from pm_realtime.asgi import get_asgi_application

COOKIES = [b"", b"sessionid=abcdefabcdefabcdefabcdefabcdefab", b"sessionid=a:b:c"]


async def serve():
    application, found = get_asgi_application(), []
    for cookie in COOKIES:
        headers = [(b"host", b"testserver"), (b"origin", b"http://testserver"), (b"cookie", cookie)]
        connection = WebsocketCommunicator(application, "/api/ws", headers=headers)
        await connection.connect()
        first = await connection.receive_json_from()
        subscribe = {"type": "subscribe", "timestamp": 1, "payload": {"room": "news"}}
        await connection.send_json_to(subscribe)
        await connection.receive_json_from()
        await asend_to_user(1, "not for visitors")
        await arefresh_user(1)
        await asend_to_room("news", "news")
        second = await connection.receive_json_from()
        stats = await aget_stats()
        found.append([first["payload"]["userId"], second["type"], stats["totalConnections"]])
        await connection.disconnect()
    return found


if __name__ == "__main__":
    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["testserver"],
        DEBUG=True,
        PM_REALTIME={"ROOMS": {"news": {"public": True}}},
        **json.loads(sys.argv[1]),
    )
    django.setup()
    found = {"checks": [message.id for message in run_checks()], "received": asyncio.run(serve())}
    print(json.dumps(found))
