import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { fakePage } from "./fake_page.js";
import { fakeWebSocket } from "./fake_socket.js";

/** A client whose waits are all at their bound: 1, 2, 4, 8, 16 s. */
function setup(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  t.mock.method(Math, "random", () => 1);
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket, ...options });
  const log = [];
  realtime.on(":status", ({ status }) => log.push(status));
  const closes = [];
  realtime.on(":close", (detail) => closes.push(detail));
  return { WebSocket, realtime, log, closes, tick: (ms) => t.mock.timers.tick(ms) };
}

test("tells each state as it comes", (t) => {
  const { WebSocket, realtime, log, closes, tick } = setup(t);
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

for (const code of [1000, 1006, 4001, 4003, 4013]) {
  test(`comes back after ${code}`, (t) => {
    const { WebSocket, realtime, tick } = setup(t);
    realtime.connect();
    WebSocket.last.accept();
    WebSocket.last.close(code);
    tick(1000);
    assert.equal(WebSocket.all.length, 2);
  });
}

for (const code of [1002, 1008, 1009, 4501, 4502, 4503, 4504, 4505]) {
  test(`stays away after ${code}, until connect`, (t) => {
    const events = fakePage(t);
    const { WebSocket, realtime, closes, tick } = setup(t);
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
  const { WebSocket, realtime, closes, tick } = setup(t);
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
  const { WebSocket, realtime, closes, tick } = setup(t, { maxReconnectAttempts: Infinity });
  realtime.connect();
  for (let attempt = 0; attempt < 40; attempt += 1) {
    WebSocket.last.close();
    tick(30_000);
  }
  assert.equal(WebSocket.all.length, 41);
  assert.equal(closes.at(-1).delay, 30_000);
});

test("keeps what was queued over a rest", (t) => {
  const { WebSocket, realtime } = setup(t, { maxReconnectAttempts: 0 });
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
    const { WebSocket, realtime } = setup(t, { maxReconnectAttempts: 0 });
    realtime.connect();
    WebSocket.last.close();
    events.show("hidden");
    assert.equal(WebSocket.all.length, 1);
    wake(events);
    assert.equal(WebSocket.all.length, 2);
  });

  test(`a wait ends when ${name}`, (t) => {
    const events = fakePage(t);
    const { WebSocket, realtime, tick } = setup(t);
    realtime.connect();
    WebSocket.last.close();
    wake(events);
    assert.equal(WebSocket.all.length, 2);
    tick(1000);
    assert.equal(WebSocket.all.length, 2);
  });

  test(`a connection is tried out when ${name}`, (t) => {
    const events = fakePage(t);
    const { WebSocket, realtime, tick } = setup(t);
    realtime.connect();
    WebSocket.last.accept();
    wake(events);
    assert.equal(WebSocket.last.sentOf("ping").length, 1);
    tick(999);
    assert.equal(realtime.connected, true);
    tick(1);
    assert.equal(WebSocket.all.length, 2, "at once: it was lost before");
  });
}

test("what comes of an attempt under way when the network comes back is no failure of before", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, closes, tick } = setup(t, { maxReconnectAttempts: 1 });
  realtime.connect();
  WebSocket.last.close();
  tick(1000);
  assert.equal(realtime.status, "connecting");
  events.online();
  assert.equal(WebSocket.all.length, 2);
  WebSocket.last.close();
  assert.deepEqual([realtime.status, closes.at(-1).delay], ["waiting", 0]);
});

test("who disconnects while it begins to connect is not woken", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime } = setup(t);
  realtime.once(":status", () => realtime.disconnect());
  realtime.connect();
  assert.equal(events.listeners, 0);
  events.online();
  assert.deepEqual([realtime.status, WebSocket.all.length], ["stopped", 1]);
});

test("after disconnect the page's events do nothing", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, tick } = setup(t);
  realtime.connect();
  WebSocket.last.close();
  realtime.disconnect();
  events.online();
  events.show("visible");
  tick(60_000);
  assert.equal(WebSocket.all.length, 1);
});

test("with reconnect: false it stays away", (t) => {
  const events = fakePage(t);
  const { WebSocket, realtime, closes, tick } = setup(t, { reconnect: false });
  realtime.connect();
  WebSocket.last.accept();
  WebSocket.last.close();
  events.online();
  tick(60_000);
  assert.equal(WebSocket.all.length, 1);
  assert.equal(closes[0].willReconnect, false);
});

test("an option that is undefined or null has its default", (t) => {
  for (const none of [undefined, null]) {
    const options = { reconnect: none, maxReconnectAttempts: none, reconnectDelay: none };
    const { WebSocket, realtime, closes, tick } = setup(t, options);
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

test("protocols of null offers what no protocols do", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [usual, none] = [{}, { protocols: null }].map((options) => {
    const WebSocket = fakeWebSocket();
    createRealtime({ url: "ws://site.test/", WebSocket, ...options }).connect();
    return WebSocket.last.protocols;
  });
  assert.deepEqual(none, usual);
  assert.notEqual(none, null);
});

test("connections that end right away count as failures", (t) => {
  const { WebSocket, realtime, closes, tick } = setup(t);
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

test("a handler of the close may connect at once", (t) => {
  const { WebSocket, realtime, log, tick } = setup(t);
  realtime.once(":close", () => realtime.connect());
  realtime.connect();
  WebSocket.last.close();
  assert.equal(WebSocket.all.length, 2);
  tick(1000);
  assert.equal(WebSocket.all.length, 2);
  assert.deepEqual(log, ["connecting", "connecting"]);
});

for (const [name, listen] of [
  ["an :open handler", (realtime) => realtime.on(":open", realtime.disconnect)],
  ["a reader of the store", ({ store, disconnect }) => store.subscribe(() => store.getSnapshot().connected && disconnect())],
]) {
  test(`${name} that disconnects has the last word`, (t) => {
    const { WebSocket, realtime, log } = setup(t);
    const heard = [];
    listen(realtime);
    for (const type of [":open", ":close", "connected", "*"]) {
      realtime.on(type, (event) => heard.push([type, event !== null]));
    }
    realtime.connect();
    WebSocket.last.accept();
    assert.deepEqual(heard.filter(([type]) => type !== ":open"), [[":close", true]]);
    assert.ok(heard.every(([, isThere]) => isThere));
    assert.deepEqual(log, ["connecting", "stopped"]);
  });
}

test("the connected frame is heard by its type, after the status", (t) => {
  const { WebSocket, realtime, log } = setup(t);
  realtime.on("connected", ({ type }) => log.push(type));
  realtime.on("*", ({ type }) => log.push(`* ${type}`));
  realtime.connect();
  WebSocket.last.accept();
  assert.deepEqual(log, ["connecting", "connected", "connected", "* connected"]);
});

test("a handler of the close that begins a rest may end it", (t) => {
  const { WebSocket, realtime, log, closes } = setup(t, { maxReconnectAttempts: 0 });
  realtime.once(":close", () => realtime.disconnect());
  realtime.connect();
  WebSocket.last.close();
  assert.deepEqual(log, ["connecting", "stopped"]);
  assert.equal(closes.length, 2);
});

test("disconnect refuses what waited for a first connect", async (t) => {
  const { realtime } = setup(t);
  const early = realtime.send({ type: "a" });
  realtime.disconnect();
  await assert.rejects(early, { code: "NOT_CONNECTED" });
  await assert.rejects(realtime.send({ type: "b" }), { code: "NOT_CONNECTED" });
});

test("what a closed socket still says is not heard", (t) => {
  const { WebSocket, realtime, closes } = setup(t);
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

test("a socket that does not open is given up", (t) => {
  const { WebSocket, realtime, closes, tick } = setup(t);
  realtime.connect();
  tick(15_000);
  assert.equal(WebSocket.last.closedWith, 4001);
  assert.deepEqual([closes[0].code, closes[0].willReconnect], [4001, true]);
});

test("pings each interval while the server answers", (t) => {
  const { WebSocket, realtime, tick } = setup(t);
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
    // Frames in between must not put the next ping off: the server counts ours.
    tick(4000);
    socket.frame("message", {});
    tick(999);
  }
  assert.equal(realtime.connected, true);
});

test("any frame is a sign of life, silence is not", (t) => {
  const { WebSocket, realtime, closes, tick } = setup(t);
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

test("an interval longer than any timer is a long one", (t) => {
  const { WebSocket, realtime } = setup(t);
  realtime.connect();
  // Node takes such a wait for one of a millisecond, as browsers do; its stand-in here does not.
  const waits = t.mock.method(globalThis, "setTimeout");
  WebSocket.last.accept({ heartbeatInterval: 1e12, heartbeatTimeout: 1e12 });
  realtime.ping();
  assert.ok(waits.mock.calls.every(({ arguments: [, delay] }) => delay < 2 ** 31));
});

test("no heartbeat where the server names none", (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  realtime.connect();
  WebSocket.last.accept({ heartbeatInterval: 0, heartbeatTimeout: undefined });
  tick(600_000);
  assert.deepEqual(WebSocket.last.sent, []);
  assert.equal(realtime.connected, true);
});

test("goes on from the last connection and the frames that came of it", (t) => {
  const { WebSocket, realtime, tick } = setup(t, { url: "ws://site.test/?a=b" });
  const asked = () => new URL(WebSocket.last.url).searchParams.get("resume");
  realtime.connect();
  assert.equal(WebSocket.last.url, "ws://site.test/?a=b&resume=");
  WebSocket.last.accept({ connectionId: "one" });
  WebSocket.last.frame("news", 1);
  WebSocket.last.frame("news", 2);
  WebSocket.last.close();
  tick(1000);
  assert.equal(asked(), "one,2");
  WebSocket.last.frame("error", { code: "INTERNAL_ERROR" });
  WebSocket.last.close(4013);
  tick(2000);
  assert.equal(asked(), "one,2");
  WebSocket.last.accept({ connectionId: "two", resumed: "one" });
  WebSocket.last.close();
  tick(4000);
  assert.equal(asked(), "two,0");
});

for (const [name, end] of [
  ["disconnect", ({ realtime }) => realtime.disconnect()],
  ["a final close", ({ WebSocket }) => WebSocket.last.close(4503)],
]) {
  test(`after ${name} it begins anew`, (t) => {
    const parts = setup(t);
    parts.realtime.connect();
    parts.WebSocket.last.accept({ connectionId: "one" });
    end(parts);
    parts.realtime.connect();
    assert.equal(parts.WebSocket.last.url, "ws://site.test/?resume=");
  });
}

test("a message that the server finds too large is refused, and no other", async (t) => {
  const { WebSocket, realtime } = setup(t);
  realtime.connect();
  WebSocket.last.accept();
  const small = realtime.sendToRoom("lobby", "é".repeat(20));
  const large = realtime.sendToRoom("lobby", "é".repeat(80));
  const message = "Expected a message of at most 200 bytes, got 201 or more.";
  WebSocket.last.frame("error", { code: "MESSAGE_TOO_LARGE", message });
  await assert.rejects(large, { code: "MESSAGE_TOO_LARGE", message });
  const { id } = WebSocket.last.sent.find(({ payload }) => payload?.content?.length === 20);
  WebSocket.last.frame("message", { room: "lobby", content: "" }, { id });
  assert.equal((await small).id, id);
});

test("another error without an id refuses nothing", async (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  realtime.connect();
  WebSocket.last.accept();
  const sent = realtime.sendToRoom("lobby", "x");
  for (const payload of [{ code: "PARSE_ERROR", message: "at most 1" }, undefined, { code: "MESSAGE_TOO_LARGE" }]) {
    WebSocket.last.frame("error", payload);
  }
  tick(15_000);
  await assert.rejects(sent, { code: "TIMEOUT" });
});
