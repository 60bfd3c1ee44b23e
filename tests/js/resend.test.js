/** Messages that were sent and not answered before the connection was lost. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_QUEUED } from "../../pm_realtime/browser/client.js";
import { settled } from "./fake_socket.js";
import { at, createConnected, PERIOD_MS } from "./streams.js";

const REPLY_TIMEOUT_MS = 15_000;

/** A connected client without heartbeat, and `sent()`: the contents on the newest socket. */
function setup(t, payload, options) {
  const parts = createConnected(t, payload, options);
  const sent = () => parts.WebSocket.last.sentOf("message").map(({ payload: { content } }) => content);
  return { ...parts, sent };
}

async function stateOf(promise) {
  let state = "pending";
  const settle = (next) => (state = next);
  promise.then(() => settle("resolved"), ({ code }) => settle(code));
  await settled();
  return state;
}

test("a message without an answer is sent again under its id, after the rooms, and resolves", async (t) => {
  const { WebSocket, realtime, reconnect, grant, sent } = setup(t);
  realtime.subscribe("a");
  grant({ cursor: at(1) });
  const message = realtime.sendToRoom("a", "hello");
  const first = WebSocket.last.lastSent;
  reconnect();
  assert.deepEqual(WebSocket.last.sent.map(({ type }) => type), ["subscribe", "message"]);
  assert.deepEqual(WebSocket.last.lastSent, first);
  WebSocket.last.reply(first, "message", { room: "a", content: "hello" });
  assert.equal((await message).payload.content, "hello");
  reconnect();
  assert.deepEqual(sent(), []);
});

test("if the server had it, an ack or the message of the room's past resolves it", async (t) => {
  const { WebSocket, realtime, reconnect, grant } = setup(t);
  const seen = [];
  realtime.on("message", ({ id }) => seen.push(id));
  realtime.subscribe("a");
  grant({ cursor: at(1) });
  const messages = [realtime.sendToRoom("a", 1), realtime.sendToRoom("a", 2)];
  reconnect();
  grant({ cursor: at(1), recovered: true });
  const [one, two] = WebSocket.last.sentOf("message");
  const rest = { id: one.id, room: "a", cursor: at(2), replayed: true };
  WebSocket.last.frame("message", { room: "a", content: 1 }, rest);
  WebSocket.last.reply(one, "ack", { duplicate: true });
  WebSocket.last.reply(two, "ack", { duplicate: true });
  const [echo, ack] = await Promise.all(messages);
  assert.deepEqual([echo.type, ack.type, seen], ["message", "ack", [one.id]]);
  assert.deepEqual(ack.payload, { room: "a", content: 2, duplicate: true });
});

test("the order of messages stays over several losses", async (t) => {
  const { WebSocket, realtime, reconnect, accept, tick, sent } = setup(t);
  for (const number of [1, 2]) realtime.sendToRoom("a", number);
  WebSocket.last.close();
  for (const number of [3, 4]) realtime.sendToRoom("a", number);
  tick(30_000);
  accept();
  assert.deepEqual(sent(), [1, 2, 3, 4]);
  WebSocket.last.reply(WebSocket.last.sentOf("message")[1], "ack", { duplicate: true });
  realtime.sendToRoom("a", 5);
  reconnect();
  assert.deepEqual(sent(), [1, 3, 4, 5]);
});

test("a message is repeated for as long as the server knows it again, then it rejects", async (t) => {
  const { WebSocket, realtime, reconnect, tick, accept, sent } = setup(t);
  const early = realtime.sendToRoom("a", "early");
  tick(10_000);
  const late = realtime.sendToRoom("a", "late");
  WebSocket.last.close();
  const queued = realtime.sendToRoom("a", "queued");
  tick(PERIOD_MS - 10_001);
  assert.equal(await stateOf(early), "pending");
  tick(1);
  assert.equal(await stateOf(early), "CONNECTION_LOST");
  assert.equal(await stateOf(late), "pending");
  accept();
  assert.deepEqual(sent(), ["late", "queued"]);
  // The period counts from the first time that it was sent.
  reconnect();
  assert.equal(await stateOf(late), "CONNECTION_LOST");
  assert.deepEqual(sent(), ["queued"]);
  assert.equal(await stateOf(queued), "pending");
});

test("a machine that slept through the period does not repeat it", async (t) => {
  const { WebSocket, realtime, accept, tick, sent } = setup(t);
  const message = realtime.sendToRoom("a", 1);
  WebSocket.last.close();
  tick(1000);
  t.mock.timers.setTime(Date.now() + PERIOD_MS);
  accept();
  assert.deepEqual([await stateOf(message), sent()], ["CONNECTION_LOST", []]);
});

for (const idempotencyPeriod of [undefined, 0]) {
  test(`a server with the period ${idempotencyPeriod} gets no message twice`, async (t) => {
    const { WebSocket, realtime, reconnect, sent } = setup(t, { idempotencyPeriod });
    const message = realtime.sendToRoom("a", 1);
    WebSocket.last.close();
    assert.equal(await stateOf(message), "CONNECTION_LOST");
    reconnect();
    assert.deepEqual(sent(), []);
  });
}

test("unanswered messages of one user are not sent as another", async (t) => {
  const { realtime, reconnect, sent } = setup(t);
  const message = realtime.sendToRoom("a", "secret");
  reconnect({ userId: 8 });
  assert.deepEqual([await stateOf(message), sent()], ["USER_CHANGED", []]);
});

for (const [name, end] of [
  ["disconnect()", ({ realtime }) => realtime.disconnect()],
  ["a final close", ({ WebSocket }) => WebSocket.last.close(4501)],
]) {
  test(`${name} rejects unanswered messages`, async (t) => {
    const parts = setup(t);
    const lost = parts.realtime.sendToRoom("a", 1);
    parts.reconnect();
    parts.WebSocket.last.close();
    parts.tick(30_000);
    assert.equal(await stateOf(lost), "pending");
    end(parts);
    assert.equal(await stateOf(lost), "NOT_CONNECTED");
  });
}

test("unanswered messages do not take the room of those that wait", async (t) => {
  const { WebSocket, realtime, accept, tick, sent } = setup(t);
  const unanswered = Array.from({ length: 20 }, (_, number) => realtime.sendToRoom("a", number));
  WebSocket.last.close();
  const queued = Array.from({ length: MAX_QUEUED + 1 }, (_, number) => realtime.sendToRoom("a", 100 + number));
  assert.equal(await stateOf(queued[0]), "QUEUE_FULL");
  assert.equal(await stateOf(unanswered[0]), "pending");
  tick(30_000);
  accept();
  assert.equal(sent().length, 20 + MAX_QUEUED);
});

test("a refusal of a repeated message rejects it", async (t) => {
  const { WebSocket, realtime, reconnect } = setup(t);
  const message = realtime.sendToRoom("a", 1);
  reconnect();
  WebSocket.last.refuse(WebSocket.last.lastSent, "NOT_IN_ROOM");
  assert.equal(await stateOf(message), "NOT_IN_ROOM");
});

test("a message times out if the server is there and does not answer", async (t) => {
  const { WebSocket, realtime, tick } = setup(t, { heartbeatInterval: 30_000 });
  const message = realtime.sendToRoom("a", 1);
  tick(REPLY_TIMEOUT_MS);
  assert.equal(await stateOf(message), "pending");
  assert.equal(WebSocket.last.lastSent.type, "ping");
  WebSocket.last.reply(WebSocket.last.lastSent, "pong");
  assert.equal(await stateOf(message), "TIMEOUT");
});

test("a message on a dead connection does not time out, and is sent again", async (t) => {
  const { WebSocket, realtime, tick, accept, sent } = setup(t, { heartbeatInterval: 60_000 });
  const message = realtime.sendToRoom("a", 1);
  for (let second = 0; second < 40; second += 1) tick(1000);
  assert.equal(WebSocket.all.length, 2);
  accept();
  assert.deepEqual([sent(), await stateOf(message)], [[1], "pending"]);
  WebSocket.last.reply(WebSocket.last.lastSent, "ack", { duplicate: true });
  assert.equal(await stateOf(message), "resolved");
});

test("without a heartbeat a message times out after twice the time", async (t) => {
  const { realtime, tick } = setup(t);
  const message = realtime.sendToRoom("a", 1);
  tick(REPLY_TIMEOUT_MS);
  tick(REPLY_TIMEOUT_MS - 1);
  assert.equal(await stateOf(message), "pending");
  tick(1);
  assert.equal(await stateOf(message), "TIMEOUT");
});

test("messages without a reply and other commands are not repeated", async (t) => {
  const { WebSocket, realtime, reconnect } = setup(t);
  realtime.send({ type: "custom" });
  const ping = realtime.ping();
  reconnect();
  assert.equal(await stateOf(ping), "CONNECTION_LOST");
  assert.deepEqual(WebSocket.last.sent, []);
});
