"""An ASGI application that answers one text with many, over the shortcut and around it in turn."""

import json

from pm_realtime.connection.direct_write import find_direct_writer


async def application(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    before = find_direct_writer(send)
    await send({"type": "websocket.accept"})
    shortcut = find_direct_writer(send)
    kind = {"is_there": shortcut is not None, "was_there": before is not None}
    await send({"type": "websocket.send", "text": json.dumps(kind)})
    while (event := await receive())["type"] == "websocket.receive":
        count, size = json.loads(event["text"])
        texts = [f"{number} é {'x' * size}" for number in range(count)]
        while texts:
            # One by ASGI, one and three past it.
            for several in (0, 1, 3):
                together, texts = tuple(texts[: max(1, several)]), texts[max(1, several) :]
                if not several or not shortcut.write(together if several > 1 else together[0]):
                    for text in together:
                        await send({"type": "websocket.send", "text": text})
        # daphne drops who has not answered a close within a second, with all that is under way.
        await receive()
        await send({"type": "websocket.close", "code": 4503})
        if shortcut.write("late"):
            raise AssertionError("written after the close")
