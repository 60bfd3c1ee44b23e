/** The statuses of a connection, and handlers that change it. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { createClient } from "./clients.js";
import { fakeWebSocket } from "./fake_socket.js";

test("emits each status and close", (t) => {
  const { WebSocket, realtime, log, closes, tick } = createClient(t);
  realtime.connect();
  WebSocket.last.accept();
  WebSocket.last.close(1012, "restart");
  assert.equal(realtime.status, "waiting");
  assert.deepEqual(closes, [{ willReconnect: true, name: null, code: 1012, reason: "restart", delay: 1000 }]);
  tick(999);
  assert.equal(WebSocket.all.length, 1);
  tick(1);
  WebSocket.last.accept();
  realtime.disconnect();
  assert.deepEqual(log, [
    "connecting", "connected", "waiting", "connecting", "connected", "stopped",
  ]);
  assert.deepEqual(closes[1], { willReconnect: false, name: null, code: 1000, reason: "" });
});

test("protocols: null means the default", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [usual, none] = [{}, { protocols: null }].map((options) => {
    const WebSocket = fakeWebSocket();
    createRealtime({ url: "ws://site.test/", WebSocket, ...options }).connect();
    return WebSocket.last.protocols;
  });
  assert.deepEqual(none, usual);
  assert.notEqual(none, null);
});

test("a handler of :close can connect at once", (t) => {
  const { WebSocket, realtime, log, tick } = createClient(t);
  realtime.once(":close", () => realtime.connect());
  realtime.connect();
  WebSocket.last.close();
  assert.equal(WebSocket.all.length, 2);
  tick(1000);
  assert.equal(WebSocket.all.length, 2);
  assert.deepEqual(log, ["connecting", "connecting"]);
});

for (const [name, listen] of [
  ["a handler of :open", (realtime) => realtime.on(":open", realtime.disconnect)],
  ["a subscriber of the store", ({ store, disconnect }) => store.subscribe(() => store.getSnapshot().connected && disconnect())],
]) {
  test(`${name} can disconnect`, (t) => {
    const { WebSocket, realtime, log } = createClient(t);
    const seen = [];
    listen(realtime);
    for (const type of [":open", ":close", "connected", "*"]) {
      realtime.on(type, (event) => seen.push([type, event !== null]));
    }
    realtime.connect();
    WebSocket.last.accept();
    assert.deepEqual(seen.filter(([type]) => type !== ":open"), [[":close", true]]);
    assert.ok(seen.every(([, isThere]) => isThere));
    assert.deepEqual(log, ["connecting", "stopped"]);
  });
}

test("the connected frame is an event of its type, after the status", (t) => {
  const { WebSocket, realtime, log } = createClient(t);
  realtime.on("connected", ({ type }) => log.push(type));
  realtime.on("*", ({ type }) => log.push(`* ${type}`));
  realtime.connect();
  WebSocket.last.accept();
  assert.deepEqual(log, ["connecting", "connected", "connected", "* connected"]);
});

test("a handler of :close can end a rest", (t) => {
  const { WebSocket, realtime, log, closes } = createClient(t, { maxReconnectAttempts: 0 });
  realtime.once(":close", () => realtime.disconnect());
  realtime.connect();
  WebSocket.last.close();
  assert.deepEqual(log, ["connecting", "stopped"]);
  assert.equal(closes.length, 2);
});

test("disconnect() refuses messages that waited for the first connection", async (t) => {
  const { realtime } = createClient(t);
  const early = realtime.send({ type: "a" });
  realtime.disconnect();
  await assert.rejects(early, { code: "NOT_CONNECTED" });
  await assert.rejects(realtime.send({ type: "b" }), { code: "NOT_CONNECTED" });
});

test("frames of a closed socket are ignored", (t) => {
  const { WebSocket, realtime, closes } = createClient(t);
  const seen = [];
  realtime.on("message", () => seen.push(1));
  realtime.connect();
  const socket = WebSocket.last;
  socket.accept();
  realtime.disconnect();
  socket.frame("message", {});
  socket.accept();
  socket.close(1006);
  assert.deepEqual(seen, []);
  assert.equal(closes.length, 1);
  assert.equal(realtime.status, "stopped");
});
