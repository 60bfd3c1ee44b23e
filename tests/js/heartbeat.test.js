/** Pings, and servers that do not answer. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createClient } from "./clients.js";

test("a socket that does not open in time is closed", (t) => {
  const { WebSocket, realtime, closes, tick } = createClient(t);
  realtime.connect();
  tick(15_000);
  assert.equal(WebSocket.last.closedWith, 4001);
  assert.deepEqual([closes[0].code, closes[0].willReconnect], [4001, true]);
});

test("pings each interval while the server answers", (t) => {
  const { WebSocket, realtime, tick } = createClient(t);
  realtime.connect();
  const socket = WebSocket.last;
  socket.accept({ heartbeatInterval: 5000, heartbeatTimeout: 2000 });
  tick(4999);
  assert.equal(socket.sentOf("ping").length, 0);
  for (let count = 1; count <= 4; count += 1) {
    tick(1);
    assert.equal(socket.sentOf("ping").length, count);
    tick(1999);
    socket.reply(socket.lastSent, "pong");
    // Other frames must not delay the next ping: the server expects it.
    tick(4000);
    socket.frame("message", {});
    tick(999);
  }
  assert.equal(realtime.connected, true);
});

test("pings at once in the first room with presence, so that the server notices a sleep", (t) => {
  const { WebSocket, realtime, tick } = createClient(t);
  realtime.connect();
  const socket = WebSocket.last;
  socket.accept();
  socket.frame("subscribed", { room: "plain", success: true });
  assert.equal(socket.sentOf("ping").length, 0);
  for (const room of ["a", "b"]) {
    socket.frame("subscribed", { room, success: true, presence: { rev: 1, total: 0 } });
    assert.equal(socket.sentOf("ping").length, 1);
  }
  tick(29_999);
  assert.equal(socket.sentOf("ping").length, 1);
  tick(1);
  assert.equal(socket.sentOf("ping").length, 2);
});

test("any frame counts as an answer, silence closes the socket", (t) => {
  const { WebSocket, realtime, closes, tick } = createClient(t);
  realtime.connect();
  const socket = WebSocket.last;
  socket.accept();
  tick(30_000);
  tick(9999);
  socket.frame("message", {});
  tick(30_000);
  assert.equal(socket.sentOf("ping").length, 2);
  tick(9999);
  assert.equal(realtime.connected, true);
  tick(1);
  assert.equal(realtime.connected, false);
  assert.equal(socket.closedWith, 4001);
  assert.deepEqual([closes[0].code, closes[0].willReconnect], [4001, true]);
  socket.close(1006);
  assert.equal(closes.length, 1);
});

test("an interval beyond the longest timer is shortened to it", (t) => {
  const { WebSocket, realtime } = createClient(t);
  realtime.connect();
  // Node and browsers run longer timers at once; the mocked timers here do not.
  const waits = t.mock.method(globalThis, "setTimeout");
  WebSocket.last.accept({ heartbeatInterval: 1e12, heartbeatTimeout: 1e12 });
  realtime.ping();
  assert.ok(waits.mock.calls.every(({ arguments: [, delay] }) => delay < 2 ** 31));
});

test("no heartbeat without an interval from the server", (t) => {
  const { WebSocket, realtime, tick } = createClient(t);
  realtime.connect();
  WebSocket.last.accept({ heartbeatInterval: 0, heartbeatTimeout: undefined });
  tick(600_000);
  assert.deepEqual(WebSocket.last.sent, []);
  assert.equal(realtime.connected, true);
});
