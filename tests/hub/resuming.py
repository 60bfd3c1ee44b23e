"""Helpers for the tests of resume buffers."""

ROOMS = {"open": {"public": True}, "listed:<int:pk>": {"authorize": "tests.site.rules.by_list"}}


async def read(connection, count):
    """The next ``count`` envelopes, which the client has received then."""
    found = [await connection.receive() for _ in range(count)]
    connection.frames += count
    return found


async def join(connection, room="open"):
    """Join a room and read everything up to the answer."""
    await connection.command("subscribe", {"room": room})
    while True:
        [envelope] = await read(connection, 1)
        if envelope["type"] == "subscribed":
            return
        assert envelope["type"] != "error", envelope


async def drop(connection, code=1006):
    await connection.disconnect(code)


def payloads(envelopes):
    return [envelope["payload"] for envelope in envelopes]


async def pushed(connection):
    """The payloads of everything that was pushed so far."""
    return [envelope["payload"] for envelope in await connection.so_far()]


async def missed_by(connection, room="open"):
    """The news that a connection gets before and after it joins ``room``."""
    id = await connection.command("subscribe", {"room": room})
    envelopes = await read(connection, 1)
    while envelopes[-1].get("id") != id:
        envelopes += await read(connection, 1)
    envelopes += await connection.so_far()
    return [each["payload"] for each in envelopes if each["type"] == "news"]
