"""An HTTP endpoint inside a site's process, which pushes a message to one user."""

from collections.abc import Awaitable, Callable
from typing import Any


class DirectEndpoint:
    """An ASGI application: ``POST /direct/<user>`` calls ``push(user, body)``.

    It is in front of ``application``, so that a measurement has the push without the rest of a
    site's HTTP.
    """

    def __init__(self, application: Any, push: Callable[[int, str], Awaitable[object]]) -> None:
        self._application, self._push = application, push

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/direct/"):
            await self._application(scope, receive, send)
            return
        body, is_more = b"", True
        while is_more:
            event = await receive()
            body, is_more = body + event.get("body", b""), event.get("more_body", False)
        await self._push(int(scope["path"].rpartition("/")[2]), body.decode())
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
