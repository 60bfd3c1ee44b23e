import asyncio, json, threading, sys
from urllib.parse import urlencode
import pytest
from tests.integration.client import Listener, connect
from tests.support.helpers import eventually

ROOMS = {"open": {"public": True}, "b": {"public": True, "history": 3}, "none": {"public": True, "history": 0}}

def seq(l, room):
    return [("gap" if e["type"]=="gap" else e.get("payload")) for e in l.received if e.get("room")==room and e["type"] in ("gap","pushed","job","m")]

def check(l, room):
    cur = [e["cursor"] for e in l.received if e.get("room")==room and "cursor" in e and e["type"]!="gap"]
    assert cur == sorted(set(cur)), room

async def test_flush(cluster, valkey):
    servers = cluster("uvicorn", "daphne", ROOMS=ROOMS)
    u, d = servers
    async with connect(u, kind=Listener) as a, connect(d, kind=Listener) as b:
        pos = {}
        for l in (a, b):
            for r in ROOMS:
                rep = await l.ask("subscribe", {"room": r}); pos[r] = rep["payload"].get("cursor")
        stop = asyncio.Event()
        n = 0
        async def pub(server, tag):
            n = 0
            while not stop.is_set():
                for r in ("open", "none"):
                    await server.aget(f"/push/?room={r}&payload=" + json.dumps(f"{tag}{n}").replace('"', "%22"))
                n += 1
            return n
        tasks = [asyncio.create_task(pub(s, t)) for s, t in ((u, "u"), (d, "d"))]
        await asyncio.sleep(1)
        c = valkey.client()
        c.flushall(); await asyncio.sleep(.02); c.flushall()
        await asyncio.sleep(2)
        c.flushall()
        await asyncio.sleep(1)
        stop.set()
        counts = [await t for t in tasks]
        await asyncio.sleep(3)
        for l in (a, b):
            for r in ROOMS:
                check(l, r)
                s = seq(l, r)
                print(r, len(s), s.count("gap"))
                for t, cnt in zip("ud", counts):
                    got = [int(x[1:]) for x in s if x != "gap" and x[0]==t]
                    print("   ", t, cnt, len(got), got == sorted(set(got)))
        # forget: quiet room b got gaps?
    print([s.log for s in servers])

async def test_offline_other_process(cluster, valkey):
    u, d = cluster("uvicorn", "daphne", ROOMS=ROOMS)
    async with connect(u, kind=Listener) as a:
        pos = {r: (await a.ask("subscribe", {"room": r}))["payload"].get("cursor") for r in ROOMS}
    # every kind of sender
    u.run("realtime_send", "--room", "open", "m", '"command"')
    u.run("realtime_send", "--room", "open", "--idempotency-key", "é"*200, "m", '"keyed"')
    u.run("realtime_send", "--room", "open", "--idempotency-key", "é"*200, "m", '"keyed again"')
    await d.aget("/push/?room=open&payload=1")
    code = '''
import django; django.setup()
import os, threading
from pm_realtime import send_to_room
send_to_room("open","m","parent")
pid=os.fork()
if pid==0:
    send_to_room("open","m","child"); os._exit(0)
os.waitpid(pid,0)
t=threading.Thread(target=lambda: send_to_room("open","m","thread")); t.start(); t.join()
import asyncio
from pm_realtime import asend_to_room
asyncio.run(asend_to_room("open","m","loop"))
send_to_room("open","m","end")
for n in range(4): send_to_room("b","m",n)
send_to_room("none","m",0)
'''
    u.python("-c", code)
    async with connect(d, kind=Listener) as a:
        for r in ROOMS:
            more = {"since": pos[r]} if pos[r] else {}
            print(r, (await a.ask("subscribe", {"room": r, **more}))["payload"])
        await d.aget("/push/?room=open&payload=2")
        await asyncio.sleep(1)
        for r in ROOMS: print(r, seq(a, r)); check(a, r)
        assert seq(a, "open") == ["command", "keyed", 1, "parent", "child", "thread", "loop", "end", 2]
        assert seq(a, "b") == ["gap", 1, 2, 3]
    # flush while away
    c = valkey.client(); c.flushall(); c.flushall()
    async with connect(u, kind=Listener) as a:
        for r in ROOMS:
            more = {"since": pos[r]} if pos[r] else {}
            print(r, (await a.ask("subscribe", {"room": r, **more}))["payload"])
        await asyncio.sleep(.5)
        for r in ROOMS: print(r, seq(a, r)); check(a, r)
    print(u.log, d.log)
