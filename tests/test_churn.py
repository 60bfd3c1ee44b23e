"""Random operations of many clients, after which no object of any connection is left."""

import asyncio
import ctypes
import gc
import json
import logging
import os
import random
import threading
import time
from collections import Counter, defaultdict, deque
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
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
from pm_realtime.concurrency import were_calls_abandoned
from pm_realtime.connection import RealtimeConsumer, drain, gate, slot
from pm_realtime.connection.outbox import Outbox
from pm_realtime.connection.revocation import Revocation
from pm_realtime.hub import hub
from pm_realtime.layer import sending
from pm_realtime.observability import outage
from pm_realtime.protocol import BATCH_SUBPROTOCOL, CloseCode, ErrorCode
from pm_realtime.push import outgoing
from pm_realtime.rooms import run_site_code
from pm_realtime.testing import session_cookie
from tests.site.asgi import application
from tests.support.helpers import (
    NO_CONNECTIONS,
    eventually,
    layer_channels,
    layer_groups,
    log_lines,
    running_tasks,
)

OPERATIONS = 20_000
#: Operations before the first measurement, so that caches and threads are there.
WARM_UP = 5_000
#: Clients connected at once, at most.
MAX_CLIENTS = 120
#: Time until all tasks have ended.
END_TIMEOUT_SECONDS = 60
ROOMS = ["lobby", "lobby", "talk", "small", "support", "known", "asked", "any room", "no\nroom"]
USERS = 12
ADDRESSES = 200
#: Errors and close codes that must have occurred; otherwise the test covers too little.
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
    """A browser, and the ASGI server between it and the site."""

    def __init__(self, cookie, rng):
        headers = [(b"host", b"testserver")]
        if cookie is not None:
            headers.append((b"cookie", cookie))
        self._scope = {
            "type": "websocket",
            "path": "/api/ws",
            "headers": headers,
            "client": [f"192.0.2.{rng.randrange(ADDRESSES)}", rng.randrange(1024, 65536)],
            "subprotocols": rng.choice([[], [BATCH_SUBPROTOCOL]]),
        }
        self._is_slow = rng.random() < 0.1
        self._inbox = asyncio.Queue()
        self._is_gone = False
        self.connection_id = None
        self.codes = []
        self._inbox.put_nowait({"type": "websocket.connect"})
        self.serving = asyncio.create_task(application(self._scope, self._inbox.get, self._receive))

    @property
    def is_open(self):
        return self.connection_id is not None and not self._is_gone

    async def _receive(self, event):
        if self._is_gone:
            raise OSError("the client is gone")
        if self._is_slow:
            await asyncio.sleep(0.001)
        if event["type"] == "websocket.close":
            self.codes.append(event["code"])
            self._leave(event["code"])
        elif event["type"] == "websocket.send":
            frame = json.loads(event["text"])
            for envelope in frame if isinstance(frame, list) else [frame]:
                self._read(envelope)

    def _read(self, envelope):
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
        if not self._is_gone:
            self._is_gone = True
            self._inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    def leave(self):
        self._leave(1000)

    def vanish(self):
        self._leave(1006)

    def stop_serving(self):
        """The server cancels the application, as on SIGTERM."""
        self._is_gone = True
        self.serving.cancel()


#: Types whose objects belong to one connection.
CONNECTION_TYPES = (RealtimeConsumer, Outbox, Revocation, Session, Client)


class Churn:
    """Operations of a site and its visitors, chosen by a random generator."""

    def __init__(self, users, rng):
        self.users, self.rng = users, rng
        self.clients = []
        self.done = Counter()
        self.codes = Counter()
        self.cookies = []
        self._tasks = set()

    async def run(self, count):
        for _ in range(2 * len(self.users) - len(self.cookies)):
            await self._log_in()
        weights = list(self.OPERATIONS.values())
        for operation in self.rng.choices(list(self.OPERATIONS), weights, k=count):
            task = asyncio.create_task(operation(self))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self.done[operation.__name__] += 1
            # At most 20 at once, so that a small machine keeps up.
            await asyncio.sleep(0)
            if len(self._tasks) > 20 or self.rng.random() < 0.05:
                await asyncio.gather(*self._tasks)
                self._forget_gone()

    async def end(self):
        """End every client in a random way and wait until the site has served them."""
        await asyncio.gather(*self._tasks)
        for client in self.clients:
            self.rng.choice([Client.leave, Client.vanish, Client.stop_serving])(client)
        serving = [client.serving for client in self.clients]
        if serving:
            _, pending = await asyncio.wait(serving, timeout=END_TIMEOUT_SECONDS)
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

    def _random_client(self):
        open_clients = [client for client in self.clients if client.is_open]
        return self.rng.choice(open_clients) if open_clients else None

    async def _log_in(self):
        cookie = await session_cookie(self.rng.choice(self.users))
        self.cookies.append(cookie)

    async def connect(self):
        cookie = self.rng.choice(self.cookies) if self.rng.random() < 0.7 else None
        self.clients.append(Client(cookie, self.rng))
        if len(self.clients) > MAX_CLIENTS:
            self.clients[0].leave()
            await asyncio.wait({self.clients[0].serving})

    async def subscribe(self):
        if client := self._random_client():
            client.send("subscribe", room=self.rng.choice(ROOMS))

    async def unsubscribe(self):
        if client := self._random_client():
            client.send("unsubscribe", room=self.rng.choice(ROOMS))

    async def send_message(self):
        if client := self._random_client():
            client.send("message", room=self.rng.choice(ROOMS), content="x" * 50)

    async def ping(self):
        if client := self._random_client():
            client.send("ping")

    async def send_invalid(self):
        if client := self._random_client():
            client.send_text(self.rng.choice(["", "{", "[]", '{"type": 1}']))

    async def leave(self):
        if client := self._random_client():
            client.leave()

    async def vanish(self):
        if client := self._random_client():
            client.vanish()

    async def stop_serving(self):
        if client := self._random_client():
            client.stop_serving()

    async def push_to_room(self):
        await pm_realtime.asend_to_room(self.rng.choice(ROOMS[:-1]), "news", {"n": 1})

    async def push_to_user(self):
        await asyncio.to_thread(
            pm_realtime.send_to_user, self.rng.choice(self.users), "news", {"n": 1}
        )

    async def broadcast(self):
        await pm_realtime.abroadcast("news", {"n": 1})

    async def put_in_room(self):
        if client := self._random_client():
            await pm_realtime.asubscribe(client.connection_id, self.rng.choice(ROOMS[:-1]))

    async def take_out_of_room(self):
        if client := self._random_client():
            await pm_realtime.aunsubscribe(client.connection_id, self.rng.choice(ROOMS[:-1]))

    async def refresh_user(self):
        await pm_realtime.arefresh_user(self.rng.choice(self.users))

    async def refresh_room(self):
        await pm_realtime.arefresh_room(self.rng.choice(ROOMS[:-1]))

    async def save_user(self):
        user = self.rng.choice(self.users)
        await sync_to_async(user.save)(update_fields=["last_name"])

    async def disconnect_user(self):
        await pm_realtime.adisconnect_user(self.rng.choice(self.users))

    async def disconnect_connection(self):
        if client := self._random_client():
            await pm_realtime.adisconnect_connection(client.connection_id)

    async def log_out(self):
        """End a session and begin another."""
        cookie = self.cookies.pop(self.rng.randrange(len(self.cookies)))
        await sync_to_async(log_out)(cookie.decode().partition("=")[2])
        await self._log_in()

    OPERATIONS = {
        connect: 250,
        subscribe: 230,
        unsubscribe: 60,
        send_message: 160,
        ping: 30,
        send_invalid: 20,
        leave: 60,
        vanish: 60,
        stop_serving: 20,
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


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [20_26])
async def test_twenty_thousand_operations_leave_no_objects(make_user, configure, seed):
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
    earlier = connection_objects()
    churn = Churn(users, random.Random(seed))
    with log_lines(logging.ERROR) as errors:
        await start_threads()
        await churn.run(WARM_UP)
        await churn.end()
        await assert_nothing_is_left(earlier)
        before = memory()

        await churn.run(OPERATIONS)
        await churn.end()
        await assert_nothing_is_left(earlier)
        after = memory()
    assert churn.done.total() == WARM_UP + OPERATIONS
    assert errors == []
    assert {code for code in churn.codes if code not in list(ErrorCode)} <= set(CloseCode)
    assert churn.codes.keys() >= EXPECTED
    assert after.threads == before.threads
    assert after.objects < 1.1 * before.objects
    assert after.resident < 1.1 * before.resident


async def start_threads():
    """Start all threads of the pools, whose memory then no longer grows."""
    pools = {run_handshake: 8, run_recheck: 2, run_site_code: 32}
    steps = [run(count_users) for run, size in pools.items() for _ in range(size)]
    steps += [asyncio.to_thread(time.sleep, 0.2) for _ in range(40)]  # Pushes use these.
    await asyncio.gather(*steps)


def count_users():
    time.sleep(0.2)
    return get_user_model().objects.count()


async def assert_nothing_is_left(earlier):
    """No task runs, no registry has an entry, and all objects but the ``earlier`` ones are gone."""
    await eventually(lambda: running_tasks() == {asyncio.current_task()}, END_TIMEOUT_SECONDS)
    assert hub._hubs._made == {}
    assert rechecker._rechecker_of_loop._made == {}
    assert sending._serving == {}
    # A loop keeps its drain once a call of a rule was given up: it limits the end of the process.
    assert drain._drains._made == {} or were_calls_abandoned()
    assert not any(each._connections for each in drain._drains._made.values())
    assert not any(gate._handshakes._made.values())
    assert not any(gate._queues._made.values())
    assert outgoing._sending == slot._evictions == set()
    assert outage.lost == ()
    assert await pm_realtime.aget_stats() == NO_CONNECTIONS
    await eventually(lambda: layer_groups() == {})
    assert not any(layer_channels().values())
    backend = get_backend()
    if isinstance(backend, MemoryBackend):
        assert backend._connections == backend._users == backend._rooms == {}
    # Rates are kept by address and user, not by connection.
    assert len(gate._addresses) <= ADDRESSES
    assert len(gate._users) <= USERS
    with suppress(TimeoutError):
        await eventually(lambda: objects_since(earlier) == [])
    left = objects_since(earlier)
    assert not left, "\n".join(sorted(set(chains_of_holders(left))))


def connection_objects():
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), CONNECTION_TYPES)]


def objects_since(earlier):
    """The objects of connections without those that other tests have left."""
    known = {id(each) for each in earlier}
    return [each for each in connection_objects() if id(each) not in known]


def chains_of_holders(things):
    """The objects that keep each of ``things`` alive, nearest first, for the message of a failure.

    A chain ends with a module, or with what no tracked object holds, as the locals of a thread.
    """
    holders = defaultdict(list)
    for each in gc.get_objects():
        if each is not things:
            for held in gc.get_referents(each):
                holders[id(held)].append(each)
    for thing in things:
        *chain, root = shortest_chain(thing, holders)
        names = [getattr(each, "__qualname__", type(each).__name__) for each in chain]
        yield " < ".join([*names, repr(root)[:200]])


def shortest_chain(thing, holders):
    chains, seen = deque([[thing]]), {id(thing)}
    while chains:
        chain = chains.popleft()
        if type(chain[-1]) is ModuleType or not holders[id(chain[-1])]:
            break
        for each in holders[id(chain[-1])]:
            if id(each) not in seen:
                seen.add(id(each))
                chains.append([*chain, each])
    return chain


class Memory(NamedTuple):
    """Bytes of the process, objects of the garbage collector, and threads."""

    resident: int
    objects: int
    threads: int


def memory():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # Return freed memory to the system.
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Memory(
        pages * os.sysconf("SC_PAGE_SIZE"), len(gc.get_objects()), threading.active_count()
    )
