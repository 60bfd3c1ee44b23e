/** What a client gets after a break: each message once and in order, or it is told. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { settled } from "./fake_socket.js";
import { at, createStreams } from "./streams.js";

const ROOM = { room: "a" };

test("a client that comes back says how far it is in its own streams, and as whom", (t) => {
  const { WebSocket, accept, reconnect, news, query, opens } = createStreams(t);
  assert.equal(WebSocket.last.url, "ws://site.test/ws");
  accept({ cursors: { user: at(10), all: at(3) } });
  reconnect({ cursors: { user: at(10), all: at(3) }, recovered: true });
  assert.deepEqual(query(), { resume: "c1", since: { user: at(10), all: at(3) }, user: "7" });
  news(11);
  news(4, { to: "all" });
  news(12, {});
  reconnect({ cursors: {}, recovered: false });
  assert.deepEqual(query(), { resume: "c2,c1", since: { user: at(11), all: at(4) }, user: "7" });
  assert.deepEqual(opens, [undefined, true, false]);
});

test("it names its newest connections and the first one, also after attempts that failed", (t) => {
  const { WebSocket, accept, reconnect, tick, query } = createStreams(t, { maxReconnectAttempts: Infinity });
  accept();
  for (let count = 2; count <= 10; count += 1) reconnect();
  WebSocket.last.close();
  tick(30_000);
  WebSocket.last.close();
  tick(60_000);
  assert.equal(query().resume, "c10,c9,c8,c7,c6,c5,c4,c1");
});

test("it also comes back so after disconnect() and a close by the server", (t) => {
  const { WebSocket, realtime, accept, query } = createStreams(t);
  accept({ cursors: { user: at(1) } });
  realtime.disconnect();
  realtime.connect();
  assert.deepEqual(query().since, { user: at(1) });
  accept({ cursors: { user: at(1) } });
  WebSocket.last.close(4502);
  realtime.connect();
  assert.deepEqual(query().since, { user: at(1) });
});

test("a server that keeps no streams is asked for none", async (t) => {
  const { WebSocket, realtime, reconnect, accept, query, opens } = createStreams(t);
  accept();
  realtime.subscribe("a");
  WebSocket.last.reply(WebSocket.last.lastSent, "subscribed", { room: "a", success: true });
  reconnect();
  assert.deepEqual(query(), { resume: "c1", user: "7" });
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a" });
  assert.deepEqual(opens, [undefined, undefined]);
});

test("an anonymous client has no streams of its own, so nothing of them is missing", (t) => {
  const { accept, reconnect, query } = createStreams(t);
  accept({ userId: null, cursors: {} });
  reconnect({ userId: null, cursors: {}, recovered: true });
  assert.deepEqual(query(), { resume: "c1", since: {}, user: "" });
});

test("cursors of one user are not sent as another", (t) => {
  const { accept, reconnect, query, WebSocket, realtime, grant, opens } = createStreams(t);
  accept({ cursors: { user: at(10), "role:editor": at(5) } });
  realtime.subscribe("a");
  grant({ cursor: at(20) });
  reconnect({ userId: 8, cursors: { user: at(2) }, recovered: false });
  assert.deepEqual(opens, [undefined, undefined], "this user begins here");
  assert.equal(WebSocket.last.lastSent.payload.since, at(20), "the server decides anew about rooms");
  grant({ cursor: at(20), recovered: true });
  reconnect({ userId: 8 });
  assert.deepEqual(query(), { resume: "c2", since: { user: at(2) }, user: "8" });
});

test("a role that was lost is not asked for", (t) => {
  const { accept, reconnect, query } = createStreams(t);
  accept({ cursors: { user: at(1), "role:editor": at(5) } });
  reconnect({ cursors: { user: at(1) }, recovered: true });
  reconnect();
  assert.deepEqual(query().since, { user: at(1) });
});

test("what comes twice is handled once, each stream for itself", (t) => {
  const { WebSocket, accept, news, seen } = createStreams(t);
  accept({ cursors: { user: at(0), all: at(0) } });
  for (const number of [1, 2, 1, 2, 3]) news(number);
  news(2, { to: "all" });
  WebSocket.last.frame("news", "no cursor", { to: "user" });
  WebSocket.last.frame("news", "no cursor", { to: "user" });
  WebSocket.last.frame("news", "no stream", { cursor: at(1) });
  assert.deepEqual(seen, [1, 2, 3, 2, "no cursor", "no cursor", "no stream"]);
});

test("a message counts as handled also if a handler throws, or connects anew", (t) => {
  const { realtime, accept, reconnect, news, query } = createStreams(t);
  t.mock.method(console, "error", () => {});
  accept({ cursors: { user: at(0) } });
  const asked = [];
  realtime.on("news", ({ payload }) => {
    if (payload !== 2) return;
    realtime.disconnect();
    realtime.connect();
    asked.push(query().since);
    throw new Error("an error of the page");
  });
  news(1);
  news(2);
  assert.deepEqual(asked, [{ user: at(2) }]);
  accept({ cursors: { user: at(2) }, recovered: true });
  reconnect();
  assert.deepEqual(query().since, { user: at(2) });
});

test("after a failover the server's positions count, also earlier ones", (t) => {
  const { accept, reconnect, news, seen, query } = createStreams(t);
  accept({ cursors: { user: at(0) } });
  news(5);
  reconnect({ cursors: { user: at(3) }, recovered: true });
  news(4);
  assert.deepEqual(seen, [5, 4]);
  reconnect();
  assert.deepEqual(query().since, { user: at(4) });
});

test("a gap is told once, and the stream goes on after it", (t) => {
  const { WebSocket, realtime, accept, reconnect, news, seen, gaps, query, opens } = createStreams(t);
  accept({ cursors: { user: at(1), all: at(1) } });
  reconnect({ cursors: { user: at(50), all: at(1) }, recovered: false });
  assert.deepEqual([opens, gaps], [[undefined, false], []]);
  const frames = [];
  for (const type of ["gap", "*"]) realtime.on(type, (envelope) => frames.push(envelope.type));
  WebSocket.last.frame("gap", {}, { to: "user", cursor: at(50) });
  news(51);
  assert.deepEqual([gaps, seen, frames], [[{ to: "user" }], [51], ["gap", "gap", "news"]]);
  reconnect();
  assert.deepEqual(query().since, { user: at(51), all: at(1) });
});

test("a gap whose envelope did not arrive is asked for again", (t) => {
  const { accept, reconnect, query } = createStreams(t);
  accept({ cursors: { user: at(1), all: at(1) } });
  reconnect({ cursors: { user: at(50), all: at(1) }, recovered: false });
  reconnect();
  assert.deepEqual(query().since, { user: at(1), all: at(1) });
});

test("a stream that is lost while connected, or that begins then, goes on from the gap", (t) => {
  const { WebSocket, accept, reconnect, news, gaps, seen, query } = createStreams(t);
  accept({ cursors: { user: at(1) } });
  WebSocket.last.frame("gap", {}, { to: "role:admin", cursor: at(30) });
  WebSocket.last.frame("gap", {}, { to: "user", cursor: at(0) });
  news(1);
  assert.deepEqual([gaps, seen], [[{ to: "role:admin" }, { to: "user" }], [1]]);
  reconnect();
  assert.deepEqual(query().since, { user: at(1), "role:admin": at(30) });
});

test("malformed positions do no harm", (t) => {
  const { WebSocket, accept, reconnect, query, seen, realtime } = createStreams(t);
  accept({ cursors: null, recovered: "yes" });
  for (const cursor of [5, null, {}, [], true]) {
    WebSocket.last.frame("gap", null, { to: "user", cursor });
    WebSocket.last.frame("gap", {}, { cursor });
    WebSocket.last.frame("news", cursor, { to: "user", cursor });
    WebSocket.last.frame("subscribed", { room: "a", cursor });
  }
  assert.equal(seen.length, 5);
  reconnect();
  assert.equal(realtime.connected, true);
  assert.deepEqual(Object.keys(query()).sort(), ["resume", "user"]);
});

test("a room goes on by itself where it was, on each connection", async (t) => {
  const { WebSocket, realtime, accept, reconnect, news, grant, seen, gaps } = createStreams(t);
  accept();
  const joined = realtime.subscribe("a");
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a" });
  grant({ cursor: at(10) });
  const { room, cursor, recovered } = await joined;
  assert.deepEqual([room, cursor, recovered], ["a", at(10), undefined]);
  reconnect();
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(10) });
  grant({ cursor: at(10), recovered: true });
  for (const number of [10, 11, 12]) news(number, { ...ROOM, replayed: true });
  news(13, ROOM);
  reconnect();
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(13) });
  grant({ cursor: at(20), recovered: false });
  WebSocket.last.frame("gap", {}, { room: "a", cursor: at(20) });
  news(21, { ...ROOM, replayed: true });
  assert.deepEqual([seen, gaps], [[11, 12, 13, 21], [{ room: "a" }]]);
});

for (const [name, leave] of [
  ["unsubscribe()", ({ realtime }) => realtime.unsubscribe("a")],
  ["leave()", (_, subscription) => subscription.leave()],
  ["removal by the server", ({ WebSocket }) => WebSocket.last.frame("unsubscribed", { room: "a", reason: "closed" })],
]) {
  test(`a room starts anew after ${name}`, (t) => {
    const parts = createStreams(t);
    const { WebSocket, realtime, accept, news, grant, seen } = parts;
    accept();
    const subscription = realtime.subscribe("a");
    grant({ cursor: at(10) });
    news(11, ROOM);
    leave(parts, subscription);
    news(12, ROOM);
    realtime.subscribe("a");
    assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a" });
    grant({ cursor: at(5) });
    news(6, ROOM);
    assert.deepEqual(seen, [11, 12, 6]);
  });
}

test("a subscription starts in the past with `last` or `since`", async (t) => {
  const { WebSocket, realtime, accept, news, grant, seen } = createStreams(t);
  accept();
  const joined = realtime.subscribe("a", { last: 50, since: at(3) });
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(3), last: 50 });
  grant({ cursor: at(3), recovered: true });
  assert.equal((await joined).recovered, true);
  for (const number of [4, 5]) news(number, { ...ROOM, replayed: true });
  assert.deepEqual(seen, [4, 5]);
  realtime.subscribe("b", { last: undefined, since: null });
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "b" });
});

test("`last` is asked for on the connection that joins, and then after a gap only", (t) => {
  const { WebSocket, realtime, accept, reconnect, grant } = createStreams(t);
  realtime.subscribe("a", { last: 20 });
  realtime.subscribe("a", { last: 50 });
  realtime.subscribe("a");
  accept();
  assert.deepEqual(WebSocket.last.sentOf("subscribe").map(({ payload }) => payload), [{ room: "a", last: 50 }]);
  reconnect();
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", last: 50 });
  grant({ cursor: at(1) });
  reconnect();
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(1), last: 50 });
});

test("disconnect() before the answer keeps the place for the next connect()", async (t) => {
  const { WebSocket, realtime, accept } = createStreams(t);
  const refused = realtime.subscribe("a", { last: 20 });
  realtime.disconnect();
  await assert.rejects(refused, { code: "NOT_CONNECTED" });
  realtime.connect();
  accept();
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", last: 20 });
});

/** A page that is in the room, with a handler that had the messages up to number 10. */
async function inRoom(t) {
  const parts = createStreams(t);
  parts.accept();
  parts.realtime.subscribe("a");
  parts.grant({ cursor: at(8) });
  for (const number of [9, 10]) parts.news(number, ROOM);
  const late = [];
  const listen = () => parts.realtime.on("news", ({ payload }) => late.push(payload));
  return { ...parts, late, listen };
}

test("a second part of the page gets messages of the past, and the first none twice", async (t) => {
  const { WebSocket, realtime, news, grant, seen, late, listen } = await inRoom(t);
  listen();
  const joined = realtime.subscribe("a", { last: 4 });
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", last: 4 });
  news(11, ROOM);
  assert.deepEqual([seen, late], [[9, 10, 11], []], "it comes again, after the older ones");
  grant({ cursor: at(7) });
  assert.equal((await joined).cursor, at(7));
  for (const number of [8, 9, 10, 11]) news(number, { ...ROOM, replayed: true });
  news(12, ROOM);
  assert.deepEqual(seen, [9, 10, 11, 12]);
  assert.deepEqual(late, [8, 9, 10, 11, 12]);
});

test("two parts that ask for the same at once have one answer", async (t) => {
  const { WebSocket, realtime, news, grant, late, listen } = await inRoom(t);
  listen();
  const joined = [realtime.subscribe("a", { last: 1 }), realtime.subscribe("a", { last: 1 })];
  assert.equal(WebSocket.last.sentOf("subscribe").length, 2);
  grant({ cursor: at(9) });
  news(10, { ...ROOM, replayed: true });
  assert.deepEqual([late, (await Promise.all(joined)).length], [[10], 2]);
});

test("a second part with another place is asked for after the first one's answer", async (t) => {
  const { WebSocket, realtime, news, grant, seen, late, listen } = await inRoom(t);
  listen();
  realtime.subscribe("a", { last: 1 });
  realtime.subscribe("a", { last: 2 });
  grant({ cursor: at(9) });
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", last: 2 });
  grant({ cursor: at(8) });
  for (const number of [9, 10]) news(number, { ...ROOM, replayed: true });
  news(11, ROOM);
  assert.deepEqual([seen, late], [[9, 10, 11], [9, 10, 11]]);
});

test("the place of a second part is asked for again after a break, once the room goes on", async (t) => {
  const { WebSocket, realtime, news, grant, seen, late, listen, reconnect } = await inRoom(t);
  listen();
  realtime.subscribe("a", { since: at(7) });
  news(11, ROOM);
  reconnect();
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(11) });
  grant({ cursor: at(11), recovered: true });
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(7) });
  news(12, { ...ROOM, replayed: true });
  grant({ cursor: at(7), recovered: true });
  for (const number of [8, 9, 10, 11, 12]) news(number, { ...ROOM, replayed: true });
  assert.deepEqual(seen, [9, 10, 11, 12]);
  assert.deepEqual(late, [8, 9, 10, 11, 12]);
});

test("only the second part is told of a gap in its past", async (t) => {
  const { WebSocket, realtime, news, grant, gaps, late, listen } = await inRoom(t);
  listen();
  const told = [];
  realtime.on(":gap", (detail) => told.push(detail));
  realtime.subscribe("a", { since: at(1) });
  grant({ cursor: at(8), recovered: false });
  WebSocket.last.frame("gap", {}, { room: "a", cursor: at(8) });
  for (const number of [9, 10]) news(number, { ...ROOM, replayed: true });
  assert.deepEqual([told, gaps, late], [[{ room: "a" }], [], [9, 10]]);
});

test("a break in the middle of a second part's past leaves no hole in it", async (t) => {
  const { WebSocket, realtime, news, grant, seen, late, listen, reconnect } = await inRoom(t);
  listen();
  realtime.subscribe("a", { last: 4 });
  grant({ cursor: at(6) });
  for (const number of [7, 8]) news(number, { ...ROOM, replayed: true });
  reconnect();
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(8), last: 4 });
  grant({ cursor: at(8), recovered: true });
  for (const number of [9, 10, 11]) news(number, { ...ROOM, replayed: true });
  assert.deepEqual([seen, late], [[9, 10, 11], [7, 8, 9, 10, 11]]);
  reconnect();
  assert.equal(WebSocket.last.lastSent.payload.since, at(11));
});

test("a gap of the whole page is told to those, too, who wait for their past", async (t) => {
  const { WebSocket, realtime, news, grant, gaps, listen, reconnect } = await inRoom(t);
  reconnect();
  listen();
  const told = [];
  realtime.on(":gap", (detail) => told.push(detail));
  realtime.subscribe("a", { last: 1 });
  grant({ cursor: at(20), recovered: false });
  WebSocket.last.frame("gap", {}, { room: "a", cursor: at(20) });
  news(21, { ...ROOM, replayed: true });
  assert.deepEqual([gaps, told], [[{ room: "a" }], [{ room: "a" }]]);
});

test("a second part that starts ahead of the first does not make it miss anything", async (t) => {
  const { WebSocket, realtime, news, grant, seen, late, listen } = await inRoom(t);
  listen();
  realtime.subscribe("a", { last: 1 });
  grant({ cursor: at(20) });
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(10), last: 1 });
  news(21, { ...ROOM, replayed: true });
  grant({ cursor: at(10), recovered: true });
  for (const number of [11, 20, 21]) news(number, { ...ROOM, replayed: true });
  assert.deepEqual([seen, late], [[9, 10, 11, 20, 21], [11, 20, 21]]);
});

test("a place that the server refuses leaves the page in the room", async (t) => {
  const { WebSocket, realtime, news, late, listen } = await inRoom(t);
  listen();
  const refused = realtime.subscribe("a", { last: -1 });
  WebSocket.last.refuse(WebSocket.last.lastSent, "INVALID_PAYLOAD");
  await assert.rejects(refused, { code: "INVALID_PAYLOAD" });
  assert.deepEqual(realtime.rooms, ["a"]);
  news(11, ROOM);
  assert.deepEqual(late, [11]);
});

test("a second subscription without a place changes nothing for the first", async (t) => {
  const { realtime, news, grant, seen } = await inRoom(t);
  const joined = realtime.subscribe("a");
  grant({ cursor: at(30) });
  for (const number of [11, 12]) news(number, { ...ROOM, replayed: true });
  assert.deepEqual(seen, [9, 10, 11, 12], "they were under way");
  assert.equal((await joined).cursor, at(30));
});

test("a part whose place is refused gets what came meanwhile", async (t) => {
  const { WebSocket, realtime, news, grant, seen, late, listen } = await inRoom(t);
  listen();
  realtime.subscribe("a", { last: 1e9 });
  news(11, ROOM);
  WebSocket.last.refuse(WebSocket.last.lastSent, "INVALID_PAYLOAD");
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(10) });
  grant({ cursor: at(10), recovered: true });
  news(11, { ...ROOM, replayed: true });
  assert.deepEqual([seen, late], [[9, 10, 11], [11]]);
});

test("a gap in the place of a first subscription is told also if it gets lost itself", async (t) => {
  const { WebSocket, realtime, accept, reconnect, grant, gaps } = createStreams(t);
  accept();
  realtime.subscribe("a", { since: at(1) });
  grant({ cursor: at(5), recovered: false });
  reconnect();
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(1) });
  grant({ cursor: at(5), recovered: false });
  WebSocket.last.frame("gap", {}, { room: "a", cursor: at(5) });
  reconnect();
  assert.deepEqual(WebSocket.last.lastSent.payload, { room: "a", since: at(5) });
  assert.deepEqual(gaps, [{ room: "a" }]);
});

test("messages that come before the answer to a place come again after it", async (t) => {
  const { WebSocket, realtime, accept, news, grant, seen } = createStreams(t);
  accept();
  realtime.subscribe("a", { last: 3 });
  // As for a page that left the room at once and subscribed again, or a tab beside others.
  news(10, { ...ROOM, replayed: true });
  WebSocket.last.frame("news", "no cursor", ROOM);
  grant({ cursor: at(8) });
  for (const number of [9, 10, 11]) news(number, { ...ROOM, replayed: true });
  await settled();
  assert.deepEqual(seen, ["no cursor", 9, 10, 11]);
});

test("a room that server code put the page into is told apart from others", (t) => {
  const { WebSocket, accept, news, seen } = createStreams(t);
  accept();
  WebSocket.last.frame("subscribed", { room: "b", success: true, cursor: at(5) });
  for (const number of [5, 6, 6]) news(number, { room: "b" });
  assert.deepEqual(seen, [6]);
});
