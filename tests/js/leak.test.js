/** A thousand connections leave no timers, listeners or memory behind. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { createFakeServer } from "../../pm_realtime/static/pm_realtime_testing/testing.js";
import { fakePage } from "./fake_page.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

const CYCLES = 1_000;
const ROUNDS = 8;
/** Bytes a cycle. One leaked handler takes more than twice as many. */
const MAX_BYTES = 100;

const ROOMS = 500;
/** Bytes of a room that was left. The client knows its name; its members would take twice as many. */
const MAX_ROOM_BYTES = 2_000;

async function heap() {
  for (let turn = 0; turn < 3; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
  return process.memoryUsage().heapUsed;
}

const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

/** Runs `cycle(server)` many times, and returns what is left per cycle. */
async function left(t, cycle) {
  const page = fakePage(t);
  const before = { timers: timers(), listeners: page.listeners };
  const server = createFakeServer({ automatic: false });
  const run = async (count) => {
    for (let number = 0; number < count; number += 1) {
      await cycle(server);
      server.connections.length = server.sent.length = 0;
    }
  };
  await run(CYCLES);
  // A leak grows in every round; caches and compiled code do not.
  let bytes = Infinity;
  for (let round = 0; round < ROUNDS && bytes >= MAX_BYTES; round += 1) {
    const start = await heap();
    await run(CYCLES);
    bytes = Math.min(bytes, ((await heap()) - start) / CYCLES);
  }
  return {
    timers: timers() - before.timers,
    listeners: page.listeners - before.listeners,
    bytes,
  };
}

/** Uses all methods on one connection. */
function use(server, realtime) {
  realtime.connect();
  server.last.accept();
  realtime.subscribe("a");
  server.last.reply(server.last.lastSent, "subscribed", { room: "a", success: true });
  realtime.sendToRoom("a", "unanswered");
  realtime.ping();
  realtime.once("never", () => {})();
}

test("one client that connects and disconnects leaves nothing behind", async (t) => {
  let realtime = null;
  const found = await left(t, async (server) => {
    realtime ??= createRealtime({ url: "ws://site.test/", WebSocket: server.WebSocket });
    realtime.connect();
    server.last.accept();
    realtime.subscribe("a");
    realtime.ping();
    const off = realtime.on("*", () => {});
    const unsubscribe = realtime.store.subscribe(() => {});
    server.last.frame("news", 1);
    off();
    unsubscribe();
    realtime.disconnect();
  });
  assert.deepEqual([found.timers, found.listeners], [0, 0]);
  assert.ok(found.bytes < MAX_BYTES, `${found.bytes} bytes a cycle`);
});

test("clients that are dropped leave nothing behind", async (t) => {
  const found = await left(t, async (server) => {
    const realtime = createRealtime({ url: "ws://site.test/", WebSocket: server.WebSocket });
    use(server, realtime);
    realtime.disconnect();
  });
  assert.deepEqual([found.timers, found.listeners], [0, 0]);
  assert.ok(found.bytes < MAX_BYTES, `${found.bytes} bytes a cycle`);
});

test("connections that are lost and restored leave nothing behind", async (t) => {
  let realtime = null;
  const found = await left(t, async (server) => {
    realtime ??= createRealtime({ url: "ws://site.test/", WebSocket: server.WebSocket });
    use(server, realtime);
    server.last.close();
    realtime.sendToRoom("a", "queued");
    realtime.disconnect();
  });
  assert.deepEqual([found.timers, found.listeners], [0, 0]);
  assert.ok(found.bytes < MAX_BYTES, `${found.bytes} bytes a cycle`);
});

test("rooms whose members nobody asked for leave little behind", async (t) => {
  fakePage(t);
  const server = createFakeServer({ automatic: false });
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket: server.WebSocket, persist: "none" });
  realtime.connect();
  server.last.accept();
  const members = [{ key: "7", userId: 7, info: {}, since: 1, connections: 1 }];
  const visit = (room) => {
    realtime.subscribe(room);
    server.last.reply(server.last.lastSent, "subscribed", { room, success: true, presence: { rev: 1, total: 1, members } });
    realtime.unsubscribe(room);
    server.last.reply(server.last.lastSent, "unsubscribed", { room, success: true });
    server.last.sent.length = server.sent.length = 0;
  };
  visit("warm");
  const start = await heap();
  for (let number = 0; number < ROOMS; number += 1) visit(`page:${number}`);
  const bytes = ((await heap()) - start) / ROOMS;
  realtime.disconnect();
  assert.ok(bytes < MAX_ROOM_BYTES, `${bytes} bytes a room`);
});
