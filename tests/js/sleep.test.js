/** The connection of a page that sleeps, freezes, goes offline or is left. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { fakePage } from "./fake_page.js";
import { fakeWebSocket, settled } from "./fake_socket.js";

const NOW = 1_700_000_000_000;

/** A connected client in a page. Its random waits are at their bound. */
function setup(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: NOW });
  t.mock.method(Math, "random", () => 1);
  const page = fakePage(t);
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket, ...options });
  realtime.connect();
  WebSocket.last.accept();
  const pings = () => WebSocket.last.sentOf("ping");
  const contents = () => WebSocket.last.sentOf("message").map(({ payload }) => payload.content);
  const pong = () => WebSocket.last.reply(pings().at(-1), "pong");
  // In steps: one large step would look like sleep.
  const tick = (ms) => {
    t.mock.timers.tick(ms % 1000);
    for (let left = ms; left >= 1000; left -= 1000) t.mock.timers.tick(1000);
  };
  return { page, WebSocket, realtime, pings, pong, contents, tick };
}

test("a page that was frozen too long reconnects at once", (t) => {
  const { page, WebSocket, realtime, pings, tick } = setup(t);
  t.mock.method(Date, "now", () => NOW + 60_000);
  page.resume();
  assert.equal(pings().length, 1);
  tick(250);
  assert.equal(WebSocket.all.length, 2);
  WebSocket.last.accept();
  assert.equal(realtime.connected, true);
});

test("frames from before the freeze are handled, but do not count as an answer", (t) => {
  const { page, WebSocket, realtime, tick } = setup(t);
  const seen = [];
  realtime.on("news", ({ payload }) => seen.push(payload));
  const clock = t.mock.method(Date, "now", () => NOW + 60_000);
  page.resume();
  WebSocket.last.frame("news", 1);
  WebSocket.last.frame("news", 2);
  clock.mock.restore();
  tick(250);
  assert.deepEqual(seen, [1, 2]);
  assert.equal(WebSocket.all.length, 2);
});

test("a close that is found on waking up is followed by a connection at once", (t) => {
  const { page, WebSocket, tick } = setup(t);
  page.resume();
  WebSocket.last.close(4001);
  tick(0);
  assert.equal(WebSocket.all.length, 2);
});

test("a second failure after waking up waits as usual", (t) => {
  const { page, WebSocket, tick } = setup(t);
  page.resume();
  WebSocket.last.close(4001);
  tick(0);
  WebSocket.last.close();
  tick(1999);
  assert.equal(WebSocket.all.length, 2);
  tick(1);
  assert.equal(WebSocket.all.length, 3);
});

test("the clock notices that the machine slept", (t) => {
  const { WebSocket, pings, tick } = setup(t);
  tick(3000);
  assert.equal(pings().length, 0);
  const clock = t.mock.method(Date, "now", () => NOW + 600_000);
  tick(1000);
  assert.equal(pings().length, 1);
  clock.mock.restore();
  tick(250);
  assert.equal(WebSocket.all.length, 2);
});

test("slow timers of a hidden tab do not count as sleep", (t) => {
  const { page, pings, tick } = setup(t);
  page.show("hidden");
  const clock = t.mock.method(Date, "now", () => NOW + 20_000);
  tick(1000);
  clock.mock.restore();
  assert.equal(pings().length, 0);
});

test("an answer that is read after a late timer counts", (t) => {
  const { page, WebSocket, realtime, pings, pong, tick } = setup(t);
  // In a hidden tab, where the clock does not count.
  page.show("hidden");
  tick(30_000);
  assert.equal(pings().length, 1);
  tick(9999);
  const clock = t.mock.method(Date, "now", () => NOW + 300_000);
  tick(1);
  assert.equal(realtime.connected, true, "a timer that runs late does not prove silence");
  pong();
  clock.mock.restore();
  tick(5_000);
  assert.deepEqual([realtime.connected, WebSocket.all.length], [true, 1]);
});

test("messages wait while the connection is suspect, and are sent in order after the answer", async (t) => {
  const { page, WebSocket, realtime, pong, contents } = setup(t);
  page.resume();
  const sent = ["a", "b"].map((content) => realtime.sendToRoom("r", content));
  assert.deepEqual(contents(), []);
  pong();
  assert.deepEqual(contents(), ["a", "b"]);
  realtime.sendToRoom("r", "c");
  assert.deepEqual(contents(), ["a", "b", "c"]);
  for (const command of WebSocket.last.sentOf("message")) {
    WebSocket.last.reply(command, "message", command.payload);
  }
  assert.equal((await Promise.all(sent)).length, 2);
});

test("messages that waited are sent on the next connection if no answer comes", (t) => {
  const { page, WebSocket, realtime, contents, tick } = setup(t);
  page.window("offline");
  realtime.sendToRoom("r", "kept");
  tick(9999);
  assert.equal(WebSocket.all.length, 1);
  tick(1);
  tick(1000);
  WebSocket.last.accept();
  assert.deepEqual(contents(), ["kept"]);
});

test("after coming online the answer has to come soon", (t) => {
  const { page, WebSocket, pings, tick } = setup(t);
  page.window("offline");
  tick(2000);
  page.online();
  page.show("visible");
  page.resume();
  assert.equal(pings().length, 2, "one for each timeout, not for each event");
  tick(1000);
  assert.equal(WebSocket.all.length, 2);
});

test("a slow network gets more time to answer", (t) => {
  const { page, WebSocket, realtime, pong, tick } = setup(t);
  tick(30_000);
  tick(1500);
  pong();
  page.resume();
  tick(4499);
  assert.equal(realtime.connected, true);
  tick(1);
  assert.equal(WebSocket.all.length, 2);
});

test("a connection that answers stays", (t) => {
  const { page, WebSocket, realtime, pong, tick } = setup(t);
  for (const wake of [page.resume, page.online, () => page.show("visible")]) {
    wake();
    pong();
    tick(10_000);
  }
  assert.deepEqual([realtime.connected, WebSocket.all.length], [true, 1]);
});

test("a page that is left closes its socket, and reconnects when it is back", async (t) => {
  const { page, WebSocket, realtime, contents, tick } = setup(t);
  realtime.subscribe("r");
  WebSocket.last.reply(WebSocket.last.lastSent, "subscribed", { room: "r", success: true });
  await settled();
  page.window("pagehide", { persisted: true });
  assert.equal(WebSocket.last.closedWith, 1000);
  assert.equal(realtime.status, "waiting");
  realtime.sendToRoom("r", "kept");
  tick(600_000);
  assert.equal(WebSocket.all.length, 1);
  page.window("pageshow", { persisted: true });
  assert.equal(WebSocket.all.length, 2);
  WebSocket.last.accept();
  assert.deepEqual(WebSocket.last.sentOf("subscribe").length, 1);
  assert.deepEqual(contents(), ["kept"]);
});

test("with reconnect: false a page that was left stays stopped", async (t) => {
  const { page, WebSocket, realtime } = setup(t, { reconnect: false });
  const closes = [];
  realtime.on(":close", ({ code, willReconnect }) => closes.push([code, willReconnect]));
  const asked = realtime.sendToRoom("r", 1);
  page.window("pagehide", { persisted: true });
  assert.equal(WebSocket.last.closedWith, 1000);
  await assert.rejects(asked, { code: "NOT_CONNECTED" });
  page.window("pageshow", { persisted: true });
  page.online();
  assert.equal(WebSocket.all.length, 1);
  assert.deepEqual([closes, realtime.status], [[[1000, false]], "stopped"]);
  realtime.connect();
  assert.equal(WebSocket.all.length, 2);
});

test("a page that is left reports a delay of 0", (t) => {
  const { page, WebSocket, realtime } = setup(t);
  const delays = [];
  realtime.on(":close", ({ willReconnect, delay }) => delays.push([willReconnect, delay]));
  page.window("pagehide", { persisted: true });
  assert.deepEqual(delays, [[true, 0]]);
  assert.equal(WebSocket.all.length, 1);
});

test("the first pageshow event does not wake the client", (t) => {
  const { page, pings } = setup(t);
  page.window("pageshow", { persisted: false });
  assert.equal(pings().length, 0);
});

test("disconnect() removes all listeners of the page", (t) => {
  const { page, realtime } = setup(t);
  assert.ok(page.listeners > 0);
  realtime.disconnect();
  assert.equal(page.listeners, 0);
  realtime.connect();
  realtime.disconnect();
  assert.equal(page.listeners, 0);
});

test("a message is not lost in a socket that is closing", (t) => {
  const { WebSocket, realtime, contents, tick } = setup(t);
  WebSocket.last.socket.readyState = 2;
  realtime.sendToRoom("r", "kept");
  assert.deepEqual(contents(), []);
  WebSocket.last.close();
  tick(1000);
  WebSocket.last.accept();
  assert.deepEqual(contents(), ["kept"]);
});
