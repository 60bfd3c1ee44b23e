/** Messages when the connection or the user changes. */
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  BATCH_SUBPROTOCOL,
  createRealtime,
  SUBPROTOCOL,
} from "../../pm_realtime/browser/client.js";
import { createFakeServer } from "../../pm_realtime/static/pm_realtime_testing/testing.js";
import { fakeWebSocket, settled } from "./fake_socket.js";

function setup(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket, ...options });
  realtime.connect();
  WebSocket.last.accept();
  return { WebSocket, realtime, tick: (ms) => t.mock.timers.tick(ms) };
}

test("messages of one user are not sent as another user", async (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  WebSocket.last.close();
  const theirs = realtime.sendToRoom("a", "secret");
  tick(1000);
  WebSocket.last.accept({ userId: 8 });
  await assert.rejects(theirs, { code: "USER_CHANGED" });
  assert.deepEqual(WebSocket.last.sent, []);
  realtime.sendToRoom("a", "mine");
  assert.equal(WebSocket.last.lastSent.payload.content, "mine");
});

test("messages of an anonymous connection are not sent as a user", async (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  WebSocket.last.close();
  tick(1000);
  WebSocket.last.accept({ userId: null });
  WebSocket.last.close();
  const anonymous = realtime.send({ type: "a" });
  tick(2000);
  WebSocket.last.accept({ userId: 7 });
  await assert.rejects(anonymous, { code: "USER_CHANGED" });
});

test("a queued message is sent as it was when it was queued", (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  WebSocket.last.close();
  const form = { text: "Hello" };
  realtime.sendToRoom("a", form);
  form.text = "";
  tick(1000);
  WebSocket.last.accept();
  assert.deepEqual(WebSocket.last.lastSent.payload.content, { text: "Hello" });
});

test("a message that JSON cannot hold is rejected, and later ones are sent", async (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  const circular = {};
  circular.self = circular;
  const failing = { toJSON: () => { throw new RangeError("Not now."); } };
  for (const lose of [() => {}, () => WebSocket.last.close(), () => realtime.disconnect()]) {
    lose();
    await assert.rejects(realtime.sendToRoom("a", circular), TypeError);
    await assert.rejects(realtime.sendToRoom("a", { deep: [1n] }), TypeError);
    await assert.rejects(realtime.sendToRoom(1n, "content"), TypeError);
    await assert.rejects(realtime.sendToRoom("a", failing), RangeError);
    await assert.rejects(realtime.send({ type: "b", payload: circular }), TypeError);
    await assert.rejects(realtime.sendMessage("b", 1n), TypeError);
    for (const wrong of [{ payload: 1 }, { type: 5 }, null, undefined, "text"]) {
      await assert.rejects(realtime.send(wrong), /An envelope needs a type/);
    }
  }
  realtime.connect();
  assert.equal(realtime.sendToRoom("a", circular).constructor, Promise, "it may be ignored");
  realtime.sendMessage("b");
  tick(1000);
  WebSocket.last.accept();
  assert.deepEqual([realtime.connected, WebSocket.last.lastSent.type], [true, "b"]);
});

test("unsubscribe() resolves if the connection is lost before the answer", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const left = realtime.unsubscribe("a");
  WebSocket.last.close();
  assert.deepEqual((await left).payload, { room: "a", success: true });
});

test("a final close has a name, and rejects pending commands", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const closes = [];
  realtime.on(":close", (detail) => closes.push(detail));
  const sent = realtime.sendToRoom("a", 1);
  WebSocket.last.close(4501, "logged out");
  assert.deepEqual(closes, [
    { code: 4501, name: "SESSION_ENDED", reason: "logged out", willReconnect: false },
  ]);
  await assert.rejects(sent, { code: "NOT_CONNECTED" });
  assert.equal(realtime.closeCode, 4501);
});

test("messages arrive once and in order over a restart", async () => {
  const server = createFakeServer();
  const realtime = createRealtime({
    url: "ws://site.test/",
    WebSocket: server.WebSocket,
    reconnectDelay: 20,
    maxReconnectAttempts: Infinity,
  });
  const seen = [];
  realtime.on("message", ({ payload }) => seen.push(payload.content));
  realtime.connect();
  await realtime.subscribe("a");
  const sent = [];
  for (let number = 0; number < 60; number += 1) {
    if (number === 20) server.goDown();
    if (number === 40) server.comeBack();
    sent.push(realtime.sendToRoom("a", number));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(sent);
  assert.deepEqual(seen, Array.from({ length: 60 }, (_, number) => number));
  realtime.disconnect();
});

test("envelopes of one frame are handled one by one", (t) => {
  const { WebSocket, realtime } = setup(t);
  const reported = t.mock.method(console, "error", () => {});
  const seen = [];
  realtime.on("*", ({ type, payload }) => type === "a" && seen.push(payload));
  realtime.on("a", () => {
    throw new Error("an error of the page");
  });
  const sendTogether = (...payloads) =>
    WebSocket.last.text(JSON.stringify(payloads.map((payload) => ({ type: "a", payload }))));
  sendTogether(1, 2);
  WebSocket.last.text(`[null, 5, "a", [{ "type": "a" }], {}, { "type": "a", "payload": 3 }]`);
  for (const text of ["[]", "[", "[1"]) WebSocket.last.text(text);
  assert.deepEqual(seen, [1, 2, 3]);
  assert.equal(reported.mock.callCount(), 3);
});

test("disconnect() in the middle of a frame drops the rest of it", (t) => {
  const { WebSocket, realtime } = setup(t);
  const seen = [];
  realtime.on("a", ({ payload }) => {
    seen.push(payload);
    if (payload === 2) realtime.disconnect();
    if (payload === 2) realtime.connect();
  });
  WebSocket.last.text(JSON.stringify([1, 2, 3].map((payload) => ({ type: "a", payload }))));
  assert.deepEqual(seen, [1, 2]);
  WebSocket.last.accept();
  WebSocket.last.frame("a", 4);
  assert.deepEqual(seen, [1, 2, 4]);
});

test("offers the batch subprotocol, or those of the option", (t) => {
  assert.deepEqual(setup(t).WebSocket.last.protocols, [BATCH_SUBPROTOCOL, SUBPROTOCOL]);
  t.mock.timers.reset();
  const { WebSocket } = setup(t, { protocols: [SUBPROTOCOL] });
  assert.deepEqual(WebSocket.last.protocols, [SUBPROTOCOL]);
});

test("debug logs messages and statuses, and is off by default", async (t) => {
  const said = t.mock.method(console, "debug", () => {});
  setup(t);
  assert.equal(said.mock.callCount(), 0);
  t.mock.timers.reset();
  const { realtime } = setup(t, { debug: true });
  realtime.send({ type: "a" });
  await settled();
  assert.deepEqual(
    said.mock.calls.map(({ arguments: [, what, { type, status }] }) => [what, type ?? status]),
    [["status", "connecting"], ["status", "connected"], ["received", "connected"], ["sent", "a"]],
  );
});
