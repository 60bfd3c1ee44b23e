/** Commands of the site: `call`, from the call to its answer. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_QUEUED, RealtimeError } from "../../pm_realtime/browser/client.js";
import { settled } from "./fake_socket.js";
import { createConnected, PERIOD_MS } from "./streams.js";

const REPLY_TIMEOUT_MS = 15_000;

/** A connected client without heartbeat, and `sent()`: the payloads of bids on the newest socket. */
function setup(t, payload, options) {
  const parts = createConnected(t, payload, options);
  const bids = () => parts.WebSocket.last.sentOf("bid");
  const sent = () => bids().map((envelope) => envelope.payload);
  const answer = (command, result) => parts.WebSocket.last.reply(command, "result", result);
  const refuse = (command, code, details) => parts.WebSocket.last.refuse(command, code, details);
  return { ...parts, bids, sent, answer, refuse };
}

async function stateOf(promise) {
  let state = "pending";
  const settle = (next) => (state = next);
  promise.then(() => settle("resolved"), ({ code }) => settle(code));
  await settled();
  return state;
}

test("a call is sent with its room and an id, and resolves with the payload of the result", async (t) => {
  const { WebSocket, realtime, answer } = setup(t);
  const receipt = realtime.call("bid", { amount: "12.50" }, { room: "auction:7" });
  const command = WebSocket.last.lastSent;
  const { id, timestamp } = command;
  assert.deepEqual(command, { type: "bid", room: "auction:7", payload: { amount: "12.50" }, timestamp, id });
  assert.match(id, /^[0-9a-f]{32}$/);
  answer(command, { pk: 5 });
  assert.deepEqual(await receipt, { pk: 5 });
});

test("a call of no room, and without a payload, has neither", async (t) => {
  const { WebSocket, realtime } = setup(t);
  for (const rest of [[], [undefined, {}], [undefined, null], [undefined, { room: null, timeout: null }]]) {
    realtime.call("clear", ...rest);
    assert.deepEqual(Object.keys(WebSocket.last.lastSent).sort(), ["id", "timestamp", "type"]);
  }
});

for (const result of [null, false, 0, "", [], { deep: [null] }]) {
  test(`a result may be ${JSON.stringify(result)}`, async (t) => {
    const { WebSocket, realtime, answer } = setup(t);
    const called = realtime.call("bid", result);
    assert.deepEqual(WebSocket.last.lastSent.payload, result);
    answer(WebSocket.last.lastSent, result);
    assert.deepEqual(await called, result);
  });
}

test("answers find their call in any order, and other messages settle none", async (t) => {
  const { WebSocket, realtime, bids, answer } = setup(t);
  const calls = [1, 2, 3].map((number) => realtime.call("bid", number));
  WebSocket.last.frame("result", "of nobody");
  WebSocket.last.frame("result", "of another", { id: "another" });
  WebSocket.last.reply(bids()[0], "message", "no result");
  for (const command of bids().reverse()) answer(command, command.payload * 10);
  assert.deepEqual(await Promise.all(calls), [10, 20, 30]);
});

test("an error has what the site's command says", async (t) => {
  const { realtime, bids, refuse } = setup(t);
  const [over, wrong, plain] = [1, 2, 3].map((number) => realtime.call("bid", number));
  const details = { message: "The auction is over.", room: "auction:7", data: { endedAt: 5 } };
  refuse(bids()[0], "AUCTION_OVER", details);
  refuse(bids()[1], "INVALID_PAYLOAD", { path: "items[0].amount" });
  refuse(bids()[2], "RATE_LIMITED", { retryAfter: 50, data: 0, path: "" });
  const errors = (await Promise.allSettled([over, wrong, plain])).map(({ reason }) => reason);
  const read = ({ code, room, path, data, retryAfter }) => [code, room, path, data, retryAfter];
  assert.deepEqual(errors.map(read), [
    ["AUCTION_OVER", "auction:7", null, { endedAt: 5 }, null],
    ["INVALID_PAYLOAD", null, "items[0].amount", null, null],
    ["RATE_LIMITED", null, "", 0, 50],
  ]);
  assert.ok(errors.every((error) => error instanceof RealtimeError && error.envelope.type === "error"));
  assert.equal(errors[0].message, "The auction is over.");
});

test("a command that finds its payload too large refuses no other call", async (t) => {
  const { realtime, bids, answer, refuse } = setup(t);
  const [large, other] = [1, 2].map((number) => realtime.call("bid", number));
  refuse(bids()[0], "MESSAGE_TOO_LARGE", { message: "At most 5 items." });
  answer(bids()[1], "fits");
  assert.deepEqual([await stateOf(large), await other], ["MESSAGE_TOO_LARGE", "fits"]);
});

test("a payload that JSON cannot hold, and a wrong type, reject and are not sent", async (t) => {
  const { WebSocket, realtime } = setup(t);
  await assert.rejects(realtime.call("bid", 1n), TypeError);
  await assert.rejects(realtime.call("bid", 1, { room: 1n }), TypeError);
  for (const type of [undefined, 5, null]) await assert.rejects(realtime.call(type), TypeError);
  assert.deepEqual(WebSocket.last.sent, []);
});

test("calls without a connection wait for it, in order with messages and after the rooms", async (t) => {
  const { WebSocket, realtime, tick, accept, grant, answer } = setup(t);
  realtime.subscribe("a");
  grant();
  WebSocket.last.close();
  const form = { amount: 1 };
  const first = realtime.call("bid", form, { room: "a" });
  form.amount = 2;
  realtime.sendToRoom("a", "between");
  const last = realtime.call("bid", form, { room: "a" });
  tick(1000);
  accept();
  const { sent } = WebSocket.last;
  assert.deepEqual(sent.map(({ type }) => type), ["subscribe", "bid", "message", "bid"]);
  assert.deepEqual([sent[1].payload.amount, sent[3].payload.amount], [1, 2]);
  answer(sent[3], "last");
  answer(sent[1], "first");
  assert.deepEqual(await Promise.all([first, last]), ["first", "last"]);
});

test("calls without an answer are sent again under their ids, before newer ones", async (t) => {
  const { WebSocket, realtime, reconnect, bids, answer } = setup(t);
  const calls = [0, 1, 2, 3].map((number) => realtime.call("bid", number, { room: "a" }));
  const first = bids();
  answer(first[1], "one");
  WebSocket.last.close();
  calls.push(realtime.call("bid", 4, { room: "a" }));
  reconnect();
  assert.deepEqual(bids().slice(0, 3), [first[0], first[2], first[3]]);
  answer(first[0], "zero");
  // Again, before all were answered.
  reconnect();
  assert.deepEqual(bids().map(({ payload }) => payload), [2, 3, 4]);
  for (const command of bids()) answer(command, `result ${command.payload}`);
  assert.deepEqual(await Promise.all(calls), ["zero", "one", "result 2", "result 3", "result 4"]);
  reconnect();
  assert.deepEqual(bids(), []);
});

test("a call is repeated for as long as the server knows it again", async (t) => {
  const { WebSocket, realtime, tick, accept, sent } = setup(t);
  const called = realtime.call("bid", 1);
  WebSocket.last.close();
  tick(PERIOD_MS - 1);
  assert.equal(await stateOf(called), "pending");
  tick(1);
  assert.equal(await stateOf(called), "CONNECTION_LOST");
  accept();
  assert.deepEqual(sent(), []);
});

test("a server that remembers nothing gets no call twice", async (t) => {
  const { WebSocket, realtime, reconnect, sent } = setup(t, { idempotencyPeriod: 0 });
  const called = realtime.call("bid", 1);
  WebSocket.last.close();
  assert.equal(await stateOf(called), "CONNECTION_LOST");
  reconnect();
  assert.deepEqual(sent(), []);
});

test("calls of one user are not sent as another", async (t) => {
  const { WebSocket, realtime, tick, accept, sent } = setup(t);
  const unanswered = realtime.call("bid", 1);
  WebSocket.last.close();
  const waiting = realtime.call("bid", 2);
  tick(1000);
  accept({ userId: 8 });
  assert.deepEqual([await stateOf(unanswered), await stateOf(waiting)], ["USER_CHANGED", "USER_CHANGED"]);
  assert.deepEqual(sent(), []);
});

test("calls share the queue with messages, and the oldest is refused if it is full", async (t) => {
  const { WebSocket, realtime, tick, accept, sent } = setup(t);
  WebSocket.last.close();
  const calls = Array.from({ length: MAX_QUEUED }, (_, number) => realtime.call("bid", number));
  realtime.sendToRoom("a", "one more");
  assert.deepEqual([await stateOf(calls[0]), await stateOf(calls[1])], ["QUEUE_FULL", "pending"]);
  tick(1000);
  accept();
  assert.deepEqual([sent().length, sent()[0]], [MAX_QUEUED - 1, 1]);
});

for (const [name, end] of [
  ["disconnect()", ({ realtime }) => realtime.disconnect()],
  ["a final close", ({ WebSocket }) => WebSocket.last.close(4501)],
]) {
  test(`${name} rejects calls, also those that come later`, async (t) => {
    const parts = setup(t);
    const called = parts.realtime.call("bid", 1);
    end(parts);
    assert.equal(await stateOf(called), "NOT_CONNECTED");
    assert.equal(await stateOf(parts.realtime.call("bid", 2)), "NOT_CONNECTED");
  });
}

test("a rejection that nobody handles raises nothing", async (t) => {
  const unhandled = t.mock.fn();
  process.on("unhandledRejection", unhandled);
  t.after(() => process.off("unhandledRejection", unhandled));
  const { WebSocket, realtime, refuse } = setup(t);
  assert.equal(realtime.call("bid").constructor, Promise);
  refuse(WebSocket.last.lastSent, "FORBIDDEN");
  realtime.call("bid", 1n);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(unhandled.mock.callCount(), 0);
});

test("without a timeout a call is unanswered after the usual time", async (t) => {
  const { WebSocket, realtime, tick } = setup(t, { heartbeatInterval: 30_000 });
  const called = realtime.call("bid", 1);
  tick(REPLY_TIMEOUT_MS);
  WebSocket.last.reply(WebSocket.last.lastSent, "pong");
  assert.equal(await stateOf(called), "TIMEOUT");
});

test("a call that waits for others is not late while they are answered", async (t) => {
  const { WebSocket, realtime, tick, bids, answer } = setup(t, { heartbeatInterval: 600_000 });
  const calls = [1, 2, 3, 4].map((number) => realtime.call("bid", number, { room: "a" }));
  for (const command of bids().slice(0, 3)) {
    tick(10_000);
    answer(command, command.payload);
  }
  assert.deepEqual(await Promise.all(calls.slice(0, 3)), [1, 2, 3]);
  tick(REPLY_TIMEOUT_MS - 1);
  assert.equal(await stateOf(calls[3]), "pending");
  assert.equal(WebSocket.last.lastSent.type, "bid");
  tick(1);
  WebSocket.last.reply(WebSocket.last.lastSent, "pong");
  assert.equal(await stateOf(calls[3]), "TIMEOUT");
});

test("a call waits for its own timeout, also if that is long", async (t) => {
  const { WebSocket, realtime, tick } = setup(t, { heartbeatInterval: 600_000 });
  const long = realtime.call("bid", 1, { timeout: 60_000 });
  const command = WebSocket.last.lastSent;
  const short = realtime.call("bid", 2, { timeout: 100 });
  tick(99);
  assert.equal(await stateOf(short), "pending");
  tick(1);
  await assert.rejects(short, { code: "TIMEOUT", envelope: null });
  for (let second = 1; second < 60; second += 1) {
    tick(second === 1 ? 900 : 1000);
    const { lastSent } = WebSocket.last;
    if (lastSent.type === "ping") WebSocket.last.reply(lastSent, "pong");
  }
  assert.equal(await stateOf(long), "pending");
  WebSocket.last.reply(command, "result", "at last");
  assert.equal(await long, "at last");
});

test("what waits in its room for a call with a long timeout is not late", async (t) => {
  const { WebSocket, realtime, tick, bids, answer } = setup(t);
  const inRoom = { room: "a" };
  const before = realtime.call("bid", 0, inRoom);
  const long = realtime.call("bid", 1, { ...inRoom, timeout: 60_000 });
  const behind = realtime.call("bid", 2, inRoom);
  const message = realtime.sendToRoom("a", "behind, too");
  const others = [realtime.call("bid", 3, { room: "b" }), realtime.call("bid", 4)];
  tick(REPLY_TIMEOUT_MS);
  tick(REPLY_TIMEOUT_MS);
  const states = await Promise.all([before, ...others, behind, message].map(stateOf));
  assert.deepEqual(states, ["TIMEOUT", "TIMEOUT", "TIMEOUT", "pending", "pending"]);
  for (let second = 30; second < 59; second += 1) tick(1000);
  answer(bids()[1], "at last");
  assert.equal(await long, "at last");
  tick(REPLY_TIMEOUT_MS - 1);
  answer(bids()[2], "in time");
  assert.equal(await behind, "in time");
  WebSocket.last.reply(WebSocket.last.sentOf("message")[0], "message", { room: "a" });
  assert.equal(await stateOf(message), "resolved");
});

test("a long timeout ends without a heartbeat, too, and Infinity does not", async (t) => {
  const { realtime, tick } = setup(t, { idempotencyPeriod: 0 });
  const long = realtime.call("bid", 1, { timeout: 100_000 });
  const endless = realtime.call("bid", 2, { timeout: Infinity });
  tick(50_000);
  tick(49_999);
  assert.equal(await stateOf(long), "pending");
  tick(1);
  assert.equal(await stateOf(long), "TIMEOUT");
  assert.equal(await stateOf(endless), "pending");
});

test("a dead connection is found while a call waits for its own timeout", async (t) => {
  const { WebSocket, realtime, tick, accept, sent } = setup(t, { heartbeatInterval: 60_000 });
  const called = realtime.call("bid", 1, { timeout: 120_000 });
  for (let second = 0; second < 40; second += 1) tick(1000);
  assert.equal(WebSocket.all.length, 2);
  accept();
  assert.deepEqual([sent(), await stateOf(called)], [[1], "pending"]);
});

test("a call that timed out is not sent, and not sent again", async (t) => {
  const { WebSocket, realtime, tick, accept, sent, answer } = setup(t);
  const unanswered = realtime.call("bid", 1, { timeout: 10 });
  const command = WebSocket.last.lastSent;
  WebSocket.last.close();
  const waiting = realtime.call("bid", 2, { timeout: 10 });
  const kept = realtime.call("bid", 3);
  tick(10);
  assert.deepEqual([await stateOf(unanswered), await stateOf(waiting)], ["TIMEOUT", "TIMEOUT"]);
  tick(1000);
  accept();
  assert.deepEqual([sent(), await stateOf(kept)], [[3], "pending"]);
  // Late answers do no harm.
  answer(command, "late");
});

test("an answer ends the timer", async (t) => {
  const { WebSocket, realtime, tick, answer, refuse } = setup(t);
  const timers = t.mock.method(globalThis, "clearTimeout");
  const calls = [realtime.call("bid", 1, { timeout: 50 }), realtime.call("bid", 2, { timeout: 50 })];
  const [first, second] = WebSocket.last.sent;
  answer(first, null);
  refuse(second, "FORBIDDEN");
  assert.deepEqual([await stateOf(calls[0]), await stateOf(calls[1])], ["resolved", "FORBIDDEN"]);
  assert.ok(timers.mock.callCount() >= 4);
  tick(1000);
});

/** A client that was in room "a", and whose new connection has asked for it again. */
function rejoining(t) {
  const parts = setup(t);
  parts.realtime.subscribe("a");
  parts.grant();
  parts.WebSocket.last.close();
  const call = (number) => parts.realtime.call("bid", number, { room: "a" });
  const waiting = [call(1), call(2)];
  parts.tick(1000);
  parts.accept();
  const refuseRoom = (code) => parts.refuse(parts.WebSocket.last.sentOf("subscribe").at(-1), code);
  const refuseBids = () => parts.bids().forEach((bid) => parts.refuse(bid, "NOT_IN_ROOM"));
  return { ...parts, call, waiting, refuseRoom, refuseBids };
}

test("calls of a room that is not back yet wait until it is, in order", async (t) => {
  const { WebSocket, realtime, tick, grant, bids, sent, answer, call, waiting, refuseRoom, refuseBids } = rejoining(t);
  assert.deepEqual(sent(), [1, 2]);
  const ids = bids().map(({ id }) => id);
  refuseRoom("INTERNAL_ERROR");
  refuseBids();
  const later = call(3);
  const message = realtime.sendToRoom("a", "in order");
  const other = realtime.call("bid", 4, { room: "b" });
  // Nothing waits for another room.
  assert.deepEqual(sent(), [1, 2, 4]);
  tick(1000);
  const latest = call(5);
  assert.equal(WebSocket.last.lastSent.type, "subscribe");
  grant();
  assert.deepEqual(WebSocket.last.sent.slice(4).map(({ type }) => type), ["subscribe", "bid", "bid", "bid", "message", "bid"]);
  assert.deepEqual(sent(), [1, 2, 4, 1, 2, 3, 5]);
  assert.deepEqual(bids().slice(3, 5).map(({ id }) => id), ids);
  for (const command of bids().slice(2)) answer(command, command.payload * 10);
  assert.deepEqual(await Promise.all([...waiting, later, other, latest]), [10, 20, 30, 40, 50]);
  assert.equal(await stateOf(message), "pending");
});

test("they are refused if the room is", async (t) => {
  const { waiting, refuseRoom, refuseBids } = rejoining(t);
  refuseRoom("FORBIDDEN");
  refuseBids();
  assert.deepEqual([await stateOf(waiting[0]), await stateOf(waiting[1])], ["NOT_IN_ROOM", "NOT_IN_ROOM"]);
});

test("they are sent, and so refused, if the room is refused for good later", async (t) => {
  const { tick, sent, bids, refuse, waiting, refuseRoom, refuseBids } = rejoining(t);
  refuseRoom("INTERNAL_ERROR");
  refuseBids();
  tick(1000);
  refuseRoom("FORBIDDEN");
  assert.deepEqual(sent(), [1, 2, 1, 2]);
  for (const bid of bids().slice(2)) refuse(bid, "NOT_IN_ROOM");
  assert.equal(await stateOf(waiting[0]), "NOT_IN_ROOM");
});

test("they are sent, and so refused, if the page leaves the room", async (t) => {
  const { realtime, sent, refuse, bids, waiting, refuseRoom, refuseBids } = rejoining(t);
  refuseRoom("ROOM_FULL");
  refuseBids();
  assert.equal(await stateOf(waiting[0]), "pending");
  realtime.unsubscribe("a");
  assert.deepEqual(sent(), [1, 2, 1, 2]);
  for (const bid of bids().slice(2)) refuse(bid, "NOT_IN_ROOM");
  assert.equal(await stateOf(waiting[0]), "NOT_IN_ROOM");
});

test("they go on to wait over a further connection, and with idempotencyPeriod 0", async (t) => {
  const { sent, reconnect, tick, grant, waiting, refuseRoom, refuseBids, answer, bids } = rejoining(t);
  refuseRoom("TIMEOUT");
  refuseBids();
  reconnect({ idempotencyPeriod: 0 });
  assert.deepEqual(sent(), [1, 2]);
  refuseRoom("RATE_LIMITED");
  refuseBids();
  assert.equal(await stateOf(waiting[1]), "pending");
  tick(2000);
  grant();
  assert.deepEqual(sent(), [1, 2, 1, 2]);
  for (const command of bids().slice(2)) answer(command, "done");
  assert.deepEqual(await Promise.all(waiting), ["done", "done"]);
});

test("a call that may have been carried out waits for its room no longer than the server knows it", async (t) => {
  const { realtime, WebSocket, reconnect, tick, grant, bids, sent, refuse } = setup(t);
  realtime.subscribe("a");
  grant();
  const lost = realtime.call("bid", 1, { room: "a" });
  reconnect();
  const [subscribe] = WebSocket.last.sent;
  refuse(subscribe, "ROOM_FULL");
  refuse(bids()[0], "NOT_IN_ROOM");
  const waiting = realtime.call("bid", 2, { room: "a" });
  tick(PERIOD_MS - 30_000 - 1);
  assert.equal(await stateOf(lost), "pending");
  tick(1);
  assert.deepEqual([await stateOf(lost), await stateOf(waiting)], ["CONNECTION_LOST", "pending"]);
  const asked = () => WebSocket.last.sentOf("subscribe").length;
  for (const before = asked(); asked() === before; ) tick(1000);
  grant();
  assert.deepEqual(sent(), [1, 2]);
});

test("a call that was refused stays before one that was lost", async (t) => {
  const { WebSocket, reconnect, call, refuseRoom, bids, sent, refuse } = rejoining(t);
  refuseRoom("ROOM_FULL");
  refuse(bids()[0], "NOT_IN_ROOM");
  call(3);
  reconnect();
  assert.deepEqual(sent(), [1, 2, 3]);
  assert.equal(WebSocket.last.sent[0].type, "subscribe");
});

test("each call that may have been carried out has its own time over further losses", async (t) => {
  const { realtime, WebSocket, reconnect, tick, grant, bids, refuse } = setup(t);
  realtime.subscribe("a");
  grant();
  const calls = [1, 2].map((number) => realtime.call("bid", number, { room: "a" }));
  reconnect();
  refuse(WebSocket.last.sent[0], "ROOM_FULL");
  bids().forEach((bid) => refuse(bid, "NOT_IN_ROOM"));
  const other = realtime.call("bid", 3, { room: "b" });
  WebSocket.last.close();
  tick(PERIOD_MS - 30_000);
  const states = await Promise.all([...calls, other].map(stateOf));
  assert.deepEqual(states, ["CONNECTION_LOST", "CONNECTION_LOST", "pending"]);
});

test("a call of a room that the page is not in is refused", async (t) => {
  const { WebSocket, realtime, grant, refuse } = setup(t);
  const never = realtime.call("bid", 1, { room: "a" });
  refuse(WebSocket.last.lastSent, "NOT_IN_ROOM");
  assert.equal(await stateOf(never), "NOT_IN_ROOM");
  realtime.subscribe("a");
  grant();
  WebSocket.last.frame("unsubscribed", { room: "a", success: true, reason: "forbidden" });
  const left = realtime.call("bid", 2, { room: "a" });
  refuse(WebSocket.last.lastSent, "NOT_IN_ROOM");
  assert.equal(await stateOf(left), "NOT_IN_ROOM");
});

test("an error without a payload rejects", async (t) => {
  const { WebSocket, realtime, bids } = setup(t);
  const called = realtime.call("bid", 1);
  WebSocket.last.reply(bids()[0], "error");
  assert.equal(await stateOf(called), undefined);
  await assert.rejects(called, RealtimeError);
});
