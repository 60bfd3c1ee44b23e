"""An hour of coming and going, compressed: after it, nothing is left of anybody."""

import asyncio
import ctypes
import gc
import json
import logging
import os
import random
import threading
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model, logout
from django.http import HttpRequest

import pm_realtime
from pm_realtime.auth import rechecker
from pm_realtime.auth.database import run_handshake, run_recheck
from pm_realtime.auth.sessions import Session
from pm_realtime.backends import get_backend
from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.connection import RealtimeConsumer, drain, gate, slot
from pm_realtime.connection.outbox import Outbox
from pm_realtime.connection.revocation import Revocation
from pm_realtime.hub import hub
from pm_realtime.layer import sending
from pm_realtime.observability import outage
from pm_realtime.protocol import CloseCode, ErrorCode
from pm_realtime.push import outgoing
from pm_realtime.rooms import run_site_code
from pm_realtime.testing import session_cookie
from tests.site.asgi import application
from tests.support.helpers import (
    NO_CONNECTIONS,
    complaints,
    eventually,
    layer_channels,
    layer_groups,
    running_tasks,
)

OPERATIONS = 20_000
#: So many before, until all that is kept for the next has been made.
WARM_UP = 5_000
#: Clients that are there at once, at most.
CROWD = 120
#: Seconds for all that is under way to come to its end.
PATIENCE = 60
ROOMS = ["lobby", "lobby", "talk", "small", "support", "known", "asked", "any room", "no\nroom"]
USERS = 12
ADDRESSES = 200
#: Answers and close codes that must have come about, or less was churned than was meant to.
EXPECTED = {
    ErrorCode.AUTH_REQUIRED,
    ErrorCode.FORBIDDEN,
    ErrorCode.NOT_IN_ROOM,
    ErrorCode.RATE_LIMITED,
    ErrorCode.ROOM_FULL,
    ErrorCode.ROOM_LIMIT,
    CloseCode.DISCONNECTED,
    CloseCode.REPLACED,
    CloseCode.SESSION_ENDED,
}


class Client:
    """A browser and the ASGI server between it and the site."""

    def __init__(self, cookie, chance):
        headers = [(b"host", b"testserver")]
        if cookie is not None:
            headers.append((b"cookie", cookie))
        self._scope = {
            "type": "websocket",
            "path": "/api/ws",
            "headers": headers,
            "client": [f"192.0.2.{chance.randrange(ADDRESSES)}", chance.randrange(1024, 65536)],
            "subprotocols": [],
        }
        self._is_slow = chance.random() < 0.1
        self._inbox = asyncio.Queue()
        self._has_left = False
        self.connection_id = None
        self.codes = []
        self._inbox.put_nowait({"type": "websocket.connect"})
        self.serving = asyncio.create_task(application(self._scope, self._inbox.get, self._take))

    @property
    def is_open(self):
        return self.connection_id is not None and not self._has_left

    async def _take(self, event):
        if self._has_left:
            raise OSError("the client has gone")
        if self._is_slow:
            await asyncio.sleep(0.001)
        if event["type"] == "websocket.close":
            self.codes.append(event["code"])
            self._leave(event["code"])
        elif event["type"] == "websocket.send":
            envelope = json.loads(event["text"])
            if envelope["type"] == "connected":
                self.connection_id = envelope["payload"]["connectionId"]
            elif envelope["type"] == "error":
                self.codes.append(envelope["payload"]["code"])

    def send(self, type, **payload):
        envelope = {"type": type, "timestamp": 1, "payload": payload}
        self.send_text(json.dumps(envelope))

    def send_text(self, text):
        self._inbox.put_nowait({"type": "websocket.receive", "text": text})

    def _leave(self, code):
        if not self._has_left:
            self._has_left = True
            self._inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    def leave(self):
        self._leave(1000)

    def vanish(self):
        self._leave(1006)

    def be_dropped(self):
        """The server stops serving it in the middle, as on SIGTERM."""
        self._has_left = True
        self.serving.cancel()


#: What belongs to one connection.
OWN = (RealtimeConsumer, Outbox, Revocation, Session, Client)


class Churn:
    """What a site and its visitors do, one thing after the other as the generator says."""

    def __init__(self, users, chance):
        self.users, self.chance = users, chance
        self.clients = []
        self.done = Counter()
        self.codes = Counter()
        self.cookies = []
        self._doing = set()

    async def run(self, count):
        for _ in range(2 * len(self.users) - len(self.cookies)):
            await self._log_in()
        weights = list(self.OPERATIONS.values())
        for operation in self.chance.choices(list(self.OPERATIONS), weights, k=count):
            task = asyncio.create_task(operation(self))
            self._doing.add(task)
            task.add_done_callback(self._doing.discard)
            self.done[operation.__name__] += 1
            # Much happens at once, but the machine is not what is tested.
            await asyncio.sleep(0)
            if len(self._doing) > 20 or self.chance.random() < 0.05:
                await asyncio.gather(*self._doing)
                self._forget_gone()

    async def end(self):
        """All go, each in its own way; returns when the site is done with them."""
        await asyncio.gather(*self._doing)
        for client in self.clients:
            self.chance.choice([Client.leave, Client.vanish, Client.be_dropped])(client)
        serving = [client.serving for client in self.clients]
        if serving:
            _, pending = await asyncio.wait(serving, timeout=PATIENCE)
            assert not pending, pending
        self._forget_gone()
        assert not self.clients

    def _forget_gone(self):
        gone = [client for client in self.clients if client.serving.done()]
        self.clients = [client for client in self.clients if not client.serving.done()]
        for client in gone:
            if not client.serving.cancelled():
                assert client.serving.exception() is None
            self.codes.update(client.codes)

    def _anybody(self):
        open_clients = [client for client in self.clients if client.is_open]
        return self.chance.choice(open_clients) if open_clients else None

    async def _log_in(self):
        cookie = await session_cookie(self.chance.choice(self.users))
        self.cookies.append(cookie)

    async def connect(self):
        cookie = self.chance.choice(self.cookies) if self.chance.random() < 0.7 else None
        self.clients.append(Client(cookie, self.chance))
        if len(self.clients) > CROWD:
            self.clients[0].leave()
            await asyncio.wait({self.clients[0].serving})

    async def subscribe(self):
        if client := self._anybody():
            client.send("subscribe", room=self.chance.choice(ROOMS))

    async def unsubscribe(self):
        if client := self._anybody():
            client.send("unsubscribe", room=self.chance.choice(ROOMS))

    async def say(self):
        if client := self._anybody():
            client.send("message", room=self.chance.choice(ROOMS), content="x" * 50)

    async def ping(self):
        if client := self._anybody():
            client.send("ping")

    async def babble(self):
        if client := self._anybody():
            client.send_text(self.chance.choice(["", "{", "[]", '{"type": 1}']))

    async def leave(self):
        if client := self._anybody():
            client.leave()

    async def vanish(self):
        if client := self._anybody():
            client.vanish()

    async def be_dropped(self):
        if client := self._anybody():
            client.be_dropped()

    async def push_to_room(self):
        await pm_realtime.asend_to_room(self.chance.choice(ROOMS[:-1]), "news", {"n": 1})

    async def push_to_user(self):
        await asyncio.to_thread(
            pm_realtime.send_to_user, self.chance.choice(self.users), "news", {"n": 1}
        )

    async def broadcast(self):
        await pm_realtime.abroadcast("news", {"n": 1})

    async def put_in_room(self):
        if client := self._anybody():
            await pm_realtime.asubscribe(client.connection_id, self.chance.choice(ROOMS[:-1]))

    async def take_out_of_room(self):
        if client := self._anybody():
            await pm_realtime.aunsubscribe(client.connection_id, self.chance.choice(ROOMS[:-1]))

    async def refresh_user(self):
        await pm_realtime.arefresh_user(self.chance.choice(self.users))

    async def refresh_room(self):
        await pm_realtime.arefresh_room(self.chance.choice(ROOMS[:-1]))

    async def save_user(self):
        user = self.chance.choice(self.users)
        await sync_to_async(user.save)(update_fields=["last_name"])

    async def disconnect_user(self):
        await pm_realtime.adisconnect_user(self.chance.choice(self.users))

    async def disconnect_connection(self):
        if client := self._anybody():
            await pm_realtime.adisconnect_connection(client.connection_id)

    async def log_out(self):
        """A session ends, and another begins."""
        cookie = self.cookies.pop(self.chance.randrange(len(self.cookies)))
        await sync_to_async(log_out)(cookie.decode().partition("=")[2])
        await self._log_in()

    OPERATIONS = {
        connect: 250,
        subscribe: 230,
        unsubscribe: 60,
        say: 160,
        ping: 30,
        babble: 20,
        leave: 60,
        vanish: 60,
        be_dropped: 20,
        push_to_room: 30,
        push_to_user: 20,
        broadcast: 5,
        put_in_room: 15,
        take_out_of_room: 10,
        refresh_user: 5,
        refresh_room: 3,
        save_user: 3,
        disconnect_user: 2,
        disconnect_connection: 10,
        log_out: 7,
    }


def log_out(key):
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    request.user = get_user_model().objects.get(pk=request.session["_auth_user_id"])
    logout(request)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [20_26])
async def test_twenty_thousand_operations_leave_nothing_of_anybody(make_user, configure, seed):
    configure(
        MAX_CONNECTIONS_PER_USER=4,
        MAX_ROOMS_PER_CONNECTION=3,
        CONNECT_RATE_PER_ADDRESS="1000000/m",
        CONNECT_RATE_PER_USER="1000000/m",
        RATE_LIMIT="10/s",
        SESSION_RECHECK_INTERVAL=0.5,
        ROOMS={
            "lobby": {"public": True},
            "talk": {"public": True, "publish_role": "editor"},
            "small": {"public": True, "max_connections": 5},
            "support": {"min_role": "editor"},
            "known": {"authorize": "tests.site.rules.is_known"},
            "asked": {"authorize": "tests.site.rules.is_known_async"},
        },
    )
    roles = ("user", "user", "editor", "master")
    users = [
        await sync_to_async(make_user)(roles[number % 4], f"user-{number}")
        for number in range(USERS)
    ]
    churn = Churn(users, random.Random(seed))
    with complaints(logging.ERROR) as errors:
        await start_threads()
        await churn.run(WARM_UP)
        await churn.end()
        await assert_nothing_is_left()
        before = memory()

        await churn.run(OPERATIONS)
        await churn.end()
        await assert_nothing_is_left()
        after = memory()
    assert churn.done.total() == WARM_UP + OPERATIONS
    assert errors == []
    assert {code for code in churn.codes if code not in list(ErrorCode)} <= set(CloseCode)
    assert churn.codes.keys() >= EXPECTED
    assert after.threads == before.threads
    assert after.objects < 1.1 * before.objects
    assert after.resident < 1.1 * before.resident


async def start_threads():
    """Have the pools start all their threads, which then keep what they take."""
    pools = {run_handshake: 8, run_recheck: 2, run_site_code: 32}
    steps = [run(count_users) for run, size in pools.items() for _ in range(size)]
    steps += [asyncio.to_thread(time.sleep, 0.2) for _ in range(40)]  # What pushes are sent from.
    await asyncio.gather(*steps)


def count_users():
    time.sleep(0.2)
    return get_user_model().objects.count()


async def assert_nothing_is_left():
    """No table has an entry, in whatever module it is, and nobody does anything any more."""
    await eventually(lambda: running_tasks() == {asyncio.current_task()}, PATIENCE)
    assert hub._hubs._made == {}
    assert rechecker._rechecker_of_loop._made == {}
    assert sending._handovers == {}
    assert drain._drains._made == {}
    assert not any(gate._lines._made.values())
    assert outgoing._sending == slot._evictions == set()
    assert outage.lost == ()
    assert await pm_realtime.aget_stats() == NO_CONNECTIONS
    await eventually(lambda: layer_groups() == {})
    assert not any(layer_channels().values())
    backend = get_backend()
    if isinstance(backend, MemoryBackend):
        assert backend._connections == backend._users == backend._rooms == {}
    # A rate is of the address and the user, not of the connection.
    assert len(gate._addresses) <= ADDRESSES
    assert len(gate._users) <= USERS
    await eventually(lambda: own_objects() == [])


def own_objects():
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), OWN)]


class Memory(NamedTuple):
    """Bytes of the process, objects that the garbage collector knows, and threads."""

    resident: int
    objects: int
    threads: int


def memory():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # What is free only by the book counts as free.
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Memory(
        pages * os.sysconf("SC_PAGE_SIZE"), len(gc.get_objects()), threading.active_count()
    )
