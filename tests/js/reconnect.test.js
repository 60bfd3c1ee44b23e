/** When a client connects again, and how long it waits. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createClient } from "./clients.js";
import { fakePage } from "./fake_page.js";

for (const code of [1000, 1006, 4001, 4003, 4013]) {
  test(`reconnects after ${code}`, (t) => {
    const { WebSocket, realtime, tick } = createClient(t);
    realtime.connect();
    WebSocket.last.accept();
    WebSocket.last.close(code);
    tick(1000);
    assert.equal(WebSocket.all.length, 2);
  });
}

for (const code of [1002, 1008, 1009, 4501, 4502, 4503, 4504, 4505]) {
  test(`stays stopped after ${code} until connect()`, (t) => {
    const events = fakePage(t);
    const { WebSocket, realtime, closes, tick } = createClient(t);
    realtime.connect();
    WebSocket.last.accept();
    WebSocket.last.close(code);
    events.online();
    events.show("visible");
    tick(600_000);
    assert.equal(WebSocket.all.length, 1);
    assert.deepEqual([closes[0].code, closes[0].willReconnect], [code, false]);
    realtime.connect();
    assert.equal(WebSocket.all.length, 2);
  });
}

test("waits longer each time, then rests", (t) => {
  const { WebSocket, realtime, closes, tick } = createClient(t);
  realtime.connect();
  WebSocket.last.accept();
  tick(5000);
  WebSocket.last.close();
  for (const delay of [1000, 2000, 4000, 8000, 16_000]) {
    assert.equal(closes.at(-1).delay, delay);
    tick(delay);
    WebSocket.last.close();
  }
  assert.equal(WebSocket.all.length, 6);
  assert.deepEqual(
    [realtime.status, closes.at(-1).willReconnect, closes.at(-1).resting],
    ["stopped", false, true],
  );
  tick(3_600_000);
  assert.equal(WebSocket.all.length, 6);
  realtime.connect();
  WebSocket.last.close();
  assert.equal(closes.at(-1).delay, 1000);
});

test("never rests with Infinity", (t) => {
  const { WebSocket, realtime, closes, tick } = createClient(t, { maxReconnectAttempts: Infinity });
  realtime.connect();
  for (let attempt = 0; attempt < 40; attempt += 1) {
    WebSocket.last.close();
    tick(30_000);
  }
  assert.equal(WebSocket.all.length, 41);
  assert.equal(closes.at(-1).delay, 30_000);
});

test("keeps the queue over a rest", (t) => {
  const { WebSocket, realtime } = createClient(t, { maxReconnectAttempts: 0 });
  realtime.connect();
  WebSocket.last.close();
  realtime.send({ type: "a" });
  realtime.connect();
  WebSocket.last.accept();
  assert.equal(WebSocket.last.lastSent.type, "a");
});

for (const [name, wake] of [
  ["the network comes back", (events) => events.online()],
  ["the page becomes visible", (events) => events.show("visible")],
]) {
  test(`a rest ends when ${name}`, (t) => {
    const events = fakePage(t);
    const { WebSocket, realtime } = createClient(t, { maxReconnectAttempts: 0 });
    realtime.connect();
    WebSocket.last.close();
    events.show("hidden");
    assert.equal(WebSocket.all.length, 1);
    wake(events);
    assert.equal(WebSocket.all.length, 2);
  });

  test(`a wait ends when ${name}`, (t) => {
    const events = fakePage(t);
    const { WebSocket, realtime, tick } = createClient(t);
    realtime.connect();
    WebSocket.last.close();
    wake(events);
    assert.equal(WebSocket.all.length, 2);
    tick(1000);
    assert.equal(WebSocket.all.length, 2);
  });

  test(`a connection is probed when ${name}`, (t) => {
    const events = fakePage(t);
    const { WebSocket, realtime, tick } = createClient(t);
    realtime.connect();
    WebSocket.last.accept();
    wake(events);
    assert.equal(WebSocket.last.sentOf("ping").length, 1);
    tick(999);
    assert.equal(realtime.connected, true);
    tick(1);
    assert.equal(WebSocket.all.length, 2, "at once, because it was lost earlier");
  });
}

test("an attempt that hangs when the network comes back starts anew, and counts as the first", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, log, closes, tick } = createClient(t, { maxReconnectAttempts: 1 });
  realtime.connect();
  WebSocket.last.close();
  tick(1000);
  assert.equal(realtime.status, "connecting");
  events.show("visible");
  events.resume();
  assert.equal(WebSocket.all.length, 2, "other events do not disturb it");
  events.online();
  assert.equal(WebSocket.all.length, 3);
  assert.notEqual(WebSocket.all[1].closedWith, null);
  assert.equal(closes.length, 1, "the page does not hear of it");
  assert.deepEqual(log, ["connecting", "waiting", "connecting"]);
  // In steps: one large step would look like sleep.
  for (let second = 0; second < 14; second += 1) tick(1000);
  assert.equal(realtime.status, "connecting", "the new one has the whole time");
  WebSocket.last.close();
  assert.deepEqual([realtime.status, closes.at(-1).delay], ["waiting", 1000]);
  tick(1000);
  WebSocket.last.accept();
  events.online();
  assert.equal(WebSocket.all.length, 4, "a connection is only probed");
});

test("there is no attempt while the browser is offline", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, tick } = createClient(t);
  realtime.connect();
  WebSocket.last.accept();
  tick(5000);
  events.offline();
  WebSocket.last.close();
  tick(90_000);
  events.show("hidden");
  events.show("visible");
  events.resume();
  tick(90_000);
  assert.deepEqual([WebSocket.all.length, realtime.status], [1, "waiting"]);
  events.online();
  assert.equal(WebSocket.all.length, 2);
  WebSocket.last.accept();
  assert.equal(realtime.connected, true);
});

test("a client that rests starts when the network is there, also without an event", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, tick } = createClient(t, { maxReconnectAttempts: 0 });
  realtime.connect();
  events.offline();
  WebSocket.last.close();
  assert.equal(realtime.status, "stopped");
  events.show("hidden");
  events.show("visible");
  tick(60_000);
  assert.equal(WebSocket.all.length, 1);
  events.setOnLine(true);
  tick(1000);
  assert.equal(WebSocket.all.length, 2);
});

test("disconnect() while offline ends the wait", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, tick } = createClient(t);
  realtime.connect();
  WebSocket.last.accept();
  events.offline();
  WebSocket.last.close();
  tick(5000);
  realtime.disconnect();
  events.online();
  tick(60_000);
  assert.equal(WebSocket.all.length, 1);
});

test("a server that can be reached offline, as on localhost, is tried again", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, tick } = createClient(t);
  events.offline();
  realtime.connect();
  WebSocket.last.accept();
  WebSocket.last.close();
  tick(1000);
  assert.equal(WebSocket.all.length, 2);
});

test("1001 is no failure, and is followed by a connection at once", (t) => {
  const { WebSocket, realtime, closes, tick } = createClient(t);
  realtime.connect();
  for (let download = 0; download < 10; download += 1) {
    WebSocket.last.accept();
    WebSocket.last.close(1001);
    assert.deepEqual([closes.at(-1).willReconnect, closes.at(-1).delay], [true, 0]);
    tick(0);
    assert.equal(WebSocket.all.length, download + 2);
  }
  WebSocket.last.accept();
  tick(5000);
  WebSocket.last.close(1001);
  assert.equal(closes.at(-1).delay, 0, "a connection that lasted starts the count anew");
  tick(0);
  WebSocket.last.close(1006);
  assert.equal(closes.at(-1).delay, 0, "the next download has ended the attempt");
  tick(0);
  WebSocket.last.close(1006);
  assert.equal(closes.at(-1).delay, 1000, "no attempt has failed before");
  tick(1000);
  WebSocket.last.accept();
  tick(1);
  WebSocket.last.close(1006);
  assert.equal(closes.at(-1).delay, 2000);
});

test("a server that sends 1001 in a loop is asked less and less often", (t) => {
  const { WebSocket, realtime, closes, tick } = createClient(t);
  realtime.connect();
  for (let count = 0; count < 20; count += 1) {
    WebSocket.last.accept();
    WebSocket.last.close(1001);
    tick(closes.at(-1).delay);
  }
  const delays = closes.map(({ delay }) => delay);
  assert.deepEqual(delays.slice(0, 10), Array(10).fill(0));
  assert.deepEqual(delays.slice(10), [2000, 4000, 8000, 16_000, ...Array(6).fill(30_000)]);
  assert.equal(realtime.status, "connecting", "it never rests");
});

test("with reconnect: false, 1001 is final as well", (t) => {
  const { WebSocket, realtime, tick } = createClient(t, { reconnect: false });
  realtime.connect();
  WebSocket.last.accept();
  WebSocket.last.close(1001);
  tick(60_000);
  assert.deepEqual([WebSocket.all.length, realtime.status], [1, "stopped"]);
});

test("a page that was replaced connects when it becomes visible, not while it stays so", async (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, closes, tick } = createClient(t);
  realtime.connect();
  WebSocket.last.accept();
  realtime.subscribe("a");
  WebSocket.last.close(4502);
  const { willReconnect, delay } = closes[0];
  assert.deepEqual([willReconnect, delay], [false, undefined]);
  await assert.rejects(realtime.sendToRoom("a", 1), { code: "NOT_CONNECTED" });
  events.show("visible");
  events.resume();
  events.offline();
  events.online();
  tick(600_000);
  events.show("hidden");
  events.online();
  tick(600_000);
  assert.equal(WebSocket.all.length, 1);
  events.show("visible");
  assert.equal(WebSocket.all.length, 2);
  WebSocket.last.accept();
  assert.deepEqual(WebSocket.last.sent.map(({ payload }) => payload), [{ room: "a" }]);
  events.show("hidden");
  WebSocket.last.close(4502);
  events.show("visible");
  assert.equal(WebSocket.all.length, 3, "each time");
});

for (const [name, settle, options] of [
  ["disconnect()", (realtime) => realtime.disconnect(), {}],
  ["reconnect: false", () => {}, { reconnect: false }],
]) {
  test(`a page that was replaced stays stopped with ${name}`, (t) => {
    const events = fakePage(t);
    const { WebSocket, realtime, closes } = createClient(t, options);
    realtime.connect();
    WebSocket.last.accept();
    WebSocket.last.close(4502);
    settle(realtime);
    events.show("hidden");
    events.show("visible");
    events.window("pageshow", { persisted: true });
    assert.deepEqual([WebSocket.all.length, closes.length, events.listeners], [1, 1, 0]);
    assert.equal(realtime.closeCode, 4502);
  });
}

test("a page that was replaced connects when it comes back from the back-forward cache", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime } = createClient(t);
  realtime.connect();
  WebSocket.last.accept();
  WebSocket.last.close(4502);
  events.window("pagehide", { persisted: true });
  events.window("pageshow", { persisted: true });
  assert.equal(WebSocket.all.length, 2);
});

test("disconnect() in a :status handler removes all listeners", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime } = createClient(t);
  realtime.once(":status", () => realtime.disconnect());
  realtime.connect();
  assert.equal(events.listeners, 0);
  events.online();
  assert.deepEqual([realtime.status, WebSocket.all.length], ["stopped", 1]);
});

test("events of the page do nothing after disconnect()", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, tick } = createClient(t);
  realtime.connect();
  WebSocket.last.close();
  realtime.disconnect();
  events.online();
  events.show("visible");
  tick(60_000);
  assert.equal(WebSocket.all.length, 1);
});

test("with reconnect: false it stays stopped", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, closes, tick } = createClient(t, { reconnect: false });
  realtime.connect();
  WebSocket.last.accept();
  WebSocket.last.close();
  events.online();
  tick(60_000);
  assert.equal(WebSocket.all.length, 1);
  assert.equal(closes[0].willReconnect, false);
});

test("undefined and null mean the default of an option", (t) => {
  for (const none of [undefined, null]) {
    const options = { reconnect: none, maxReconnectAttempts: none, reconnectDelay: none };
    const { WebSocket, realtime, closes, tick } = createClient(t, options);
    realtime.connect();
    for (let attempt = 0; attempt < 6; attempt += 1) {
      WebSocket.last.close();
      tick(30_000);
    }
    assert.deepEqual(closes.map(({ delay }) => delay), [1000, 2000, 4000, 8000, 16_000, undefined]);
    assert.equal(closes.at(-1).resting, true);
    t.mock.timers.reset();
  }
});

test("connections that end within 5 s count as failures", (t) => {
  const { WebSocket, realtime, closes, tick } = createClient(t);
  realtime.connect();
  for (let attempt = 0; attempt < 5; attempt += 1) {
    WebSocket.last.accept();
    WebSocket.last.close(4013);
    tick(30_000);
  }
  assert.deepEqual(closes.map(({ delay }) => delay), [1000, 2000, 4000, 8000, 16_000]);
  WebSocket.last.accept();
  tick(5000);
  WebSocket.last.close();
  assert.equal(closes.at(-1).delay, 1000);
});
