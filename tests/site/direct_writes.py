"""An ASGI application that answers one text with many, in turn by direct write and by ``send``."""

import json

from pm_realtime.connection.direct_write import find_direct_writer


async def application(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    before = find_direct_writer(send)
    await send({"type": "websocket.accept"})
    writer = find_direct_writer(send)
    kind = {"is_there": writer is not None, "was_there": before is not None}
    await send({"type": "websocket.send", "text": json.dumps(kind)})
    while (event := await receive())["type"] == "websocket.receive":
        count, size = json.loads(event["text"])
        texts = [f"{number} é {'x' * size}" for number in range(count)]
        while texts:
            # One text by ``send``, one by direct write, and three by one direct write.
            for count in (0, 1, 3):
                batch, texts = tuple(texts[: max(1, count)]), texts[max(1, count) :]
                if not count or not writer.write(batch if count > 1 else batch[0]):
                    for text in batch:
                        await send({"type": "websocket.send", "text": text})
        # daphne drops a client that does not answer a close within a second, and so what is
        # still unsent.
        await receive()
        await send({"type": "websocket.close", "code": 4503})
        if writer.write("late"):
            raise AssertionError("written after the close")
