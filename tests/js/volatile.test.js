/** Messages of which only the latest matters: they are sent now, or never. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createStreams } from "./streams.js";

const VOLATILE = { volatile: true };

function setup(t, payload) {
  const parts = createStreams(t, { maxReconnectAttempts: Infinity });
  parts.accept({ heartbeatInterval: 0, ...payload });
  return { ...parts, sent: () => parts.WebSocket.last.sent };
}

test("a volatile message has no id, and resolves with nothing once it was sent", async (t) => {
  const { realtime, sent } = setup(t);
  const done = realtime.sendToRoom("a", { x: 1 }, VOLATILE);
  const [{ timestamp, ...envelope }] = sent();
  assert.deepEqual(envelope, { type: "message", payload: { room: "a", content: { x: 1 }, volatile: true } });
  assert.equal(typeof timestamp, "number");
  assert.equal(await done, undefined);
});

test("any other message is as it was", (t) => {
  const { realtime, sent } = setup(t);
  for (const options of [undefined, null, {}, { volatile: false }]) realtime.sendToRoom("a", 1, options);
  assert.equal(sent().length, 4);
  for (const { id, payload } of sent()) {
    assert.deepEqual(payload, { room: "a", content: 1 });
    assert.ok(id);
  }
});

test("without a connection it is dropped, and resolves", async (t) => {
  const { WebSocket, realtime, tick, accept, sent } = setup(t);
  WebSocket.last.close();
  assert.equal(await realtime.sendToRoom("a", 1, VOLATILE), undefined);
  tick(1000);
  assert.equal(await realtime.sendToRoom("a", 2, VOLATILE), undefined);
  accept();
  assert.deepEqual(sent(), []);
  realtime.disconnect();
  assert.equal(await realtime.sendToRoom("a", 3, VOLATILE), undefined);
});

test("on a connection that may be dead it is dropped", async (t) => {
  const { WebSocket, realtime, tick, sent } = setup(t, { heartbeatInterval: 60_000 });
  realtime.sendToRoom("a", "no answer");
  tick(15_000);
  const [, ping] = sent();
  await realtime.sendToRoom("a", 1, VOLATILE);
  assert.deepEqual(sent().map(({ type }) => type), ["message", "ping"]);
  WebSocket.last.reply(ping, "pong");
  await realtime.sendToRoom("a", 2, VOLATILE);
  assert.equal(sent().at(-1).payload.content, 2);
});

test("for a room that is not back yet it is dropped, as refusals count for the rate", async (t) => {
  const { WebSocket, realtime, tick, accept, grant, sent } = setup(t);
  realtime.subscribe("a");
  grant();
  WebSocket.last.close();
  tick(1000);
  accept();
  WebSocket.last.refuse(WebSocket.last.lastSent, "ROOM_FULL");
  assert.equal(await realtime.sendToRoom("a", 1, VOLATILE), undefined);
  await realtime.sendToRoom("b", 2, VOLATILE);
  tick(1000);
  grant();
  await realtime.sendToRoom("a", 3, VOLATILE);
  const contents = sent().map(({ payload }) => payload.content ?? "subscribe");
  assert.deepEqual(contents, ["subscribe", 2, "subscribe", 3]);
});

test("it is not sent again, and a late error reaches the page's handlers only", async (t) => {
  const { WebSocket, realtime, reconnect, sent } = setup(t);
  const errors = [];
  realtime.on("error", ({ payload }) => errors.push(payload.code));
  await realtime.sendToRoom("a", 1, VOLATILE);
  WebSocket.last.frame("error", { code: "RATE_LIMITED", message: "Too many.", room: "a" });
  reconnect();
  assert.deepEqual([errors, sent()], [["RATE_LIMITED"], []]);
});

test("in a room that the page has left, or was refused, it is dropped", async (t) => {
  const { WebSocket, realtime, grant, sent } = setup(t);
  const sentTo = () => sent().filter(({ type }) => type === "message").length;
  const refuse = (code) => WebSocket.last.reply(WebSocket.last.sentOf("subscribe").at(-1), "error", { code, message: "" });
  const move = () => realtime.sendToRoom("a", 1, VOLATILE);

  const refused = assert.rejects(realtime.subscribe("a"), { code: "FORBIDDEN" });
  await move();
  assert.equal(sentTo(), 1);
  refuse("FORBIDDEN");
  await refused;
  await move();
  assert.equal(sentTo(), 1);

  realtime.subscribe("a");
  grant();
  await move();
  assert.equal(sentTo(), 2);
  WebSocket.last.frame("unsubscribed", { room: "a", success: true, reason: "rights" });
  await move();
  assert.equal(sentTo(), 2);
  WebSocket.last.frame("subscribed", { room: "a", success: true });
  await move();
  assert.equal(sentTo(), 3);
});

test("a content that JSON cannot hold rejects", async (t) => {
  const { realtime, sent } = setup(t);
  await assert.rejects(realtime.sendToRoom("a", 1n, VOLATILE), TypeError);
  assert.deepEqual(sent(), []);
});

test("handlers get the volatile messages of others, in a room that keeps messages, too", (t) => {
  const { WebSocket, realtime, grant } = setup(t);
  const seen = [];
  realtime.on("message", ({ room, payload }) => seen.push([room, payload.content, payload.volatile]));
  realtime.subscribe("a");
  grant({ cursor: "1700000000000-000000" });
  const payload = { room: "a", content: { x: 1 }, volatile: true };
  for (const _ of [1, 2]) WebSocket.last.frame("message", payload, { room: "a" });
  assert.deepEqual(seen, [["a", { x: 1 }, true], ["a", { x: 1 }, true]]);
});
