/** Commands of the site and volatile messages on the fake server. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime, RealtimeError } from "../../pm_realtime/browser/client.js";
import { createFakeServer } from "../../pm_realtime/static/pm_realtime_testing/testing.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function connected(t, options, clients = 1) {
  const server = createFakeServer(options);
  const all = Array.from({ length: clients }, () => {
    const realtime = createRealtime({
      url: "ws://site.test/",
      WebSocket: server.WebSocket,
      reconnectDelay: 1,
      autoConnect: true,
    });
    t.after(() => realtime.disconnect());
    return realtime;
  });
  await turn();
  return { server, realtime: all[0], others: all.slice(1) };
}

/** A handler whose calls the test ends one by one. */
function slowHandler() {
  const calls = [];
  const handler = (payload, request) =>
    new Promise((resolve, reject) => calls.push({ payload, request, resolve, reject }));
  return { calls, handler };
}

test("a handler answers a command with what it returns", async (t) => {
  const { server, realtime } = await connected(t, { userId: 5, name: "Ada", role: "editor" });
  const requests = [];
  server.handle("auction.bid", ({ amount }, request) => {
    requests.push(request);
    return { pk: 1, amount };
  });
  await realtime.subscribe("auction:7");
  const receipt = await realtime.call("auction.bid", { amount: "12.50" }, { room: "auction:7" });
  assert.deepEqual(receipt, { pk: 1, amount: "12.50" });
  const [{ id }] = server.sentOf("auction.bid");
  const user = { userId: 5, name: "Ada", role: "editor" };
  assert.deepEqual(requests, [{ room: "auction:7", user, id }]);
});

test("a handler may be async, take no payload and return nothing", async (t) => {
  const { server, realtime } = await connected(t, { userId: null });
  const seen = [];
  server.handle("clear", async (payload, { room, user }) => void seen.push([payload, room, user]));
  assert.equal(await realtime.call("clear"), null);
  assert.deepEqual(seen, [[undefined, undefined, null]]);
});

test("a command without an id has no answer", async (t) => {
  const { server, realtime } = await connected(t);
  const types = [];
  realtime.on("*", ({ type }) => types.push(type));
  const seen = [];
  server.handle("touch", (payload) => seen.push(payload));
  server.last.socket.send(JSON.stringify({ type: "touch", payload: 1, timestamp: 1 }));
  await turn();
  assert.deepEqual([seen, types], [[1], []]);
});

test("an error with a code refuses the command, with message, data and path", async (t) => {
  const { server, realtime } = await connected(t);
  const endedAt = "2026-12-01T00:00:00Z";
  server.handle("auction.bid", () => {
    throw Object.assign(new Error("The auction is over."), { code: "AUCTION_OVER", data: { endedAt } });
  });
  await assert.rejects(realtime.call("auction.bid"), {
    name: "RealtimeError", code: "AUCTION_OVER", message: "The auction is over.", data: { endedAt }, path: null,
  });
  server.handle("auction.bid", async () => {
    throw { code: "INVALID_PAYLOAD", message: "Expected a number.", path: "amount" };
  });
  await assert.rejects(realtime.call("auction.bid"), { code: "INVALID_PAYLOAD", path: "amount", data: null });
  server.handle("auction.bid", () => {
    throw new RealtimeError("RATE_LIMITED", { payload: { message: "Too fast.", retryAfter: 5 } });
  });
  await assert.rejects(realtime.call("auction.bid"), { code: "RATE_LIMITED", retryAfter: 5, message: "Too fast." });
});

test("of any other error the client learns nothing, and the console has it", async (t) => {
  const { server, realtime } = await connected(t);
  const logged = t.mock.method(console, "error", () => {});
  const unwritable = { code: "OVER", data: 1n };
  const bug = new Error("a secret");
  for (const [error, handler] of [
    [bug, () => { throw bug; }],
    [undefined, () => Promise.reject()],
    [null, () => { throw unwritable; }],
    [null, () => 1n],
  ]) {
    server.handle("act", handler);
    await assert.rejects(realtime.call("act"), { code: "INTERNAL_ERROR", message: "Refused: INTERNAL_ERROR." });
    if (error !== null) assert.equal(logged.mock.calls.at(-1).arguments[0], error);
  }
  assert.equal(logged.mock.callCount(), 4);
});

test("a command for a room that the client is not in is refused", async (t) => {
  const { server, realtime } = await connected(t);
  const seen = [];
  server.handle("auction.bid", (payload, { room }) => seen.push(room));
  server.handle("auction.look", (payload, { room }) => seen.push(room), { joined: false });
  const options = { room: "auction:7" };
  await assert.rejects(realtime.call("auction.bid", 1, options), { code: "NOT_IN_ROOM", room: "auction:7" });
  await realtime.call("auction.look", 1, options);
  assert.deepEqual(seen, ["auction:7"]);
});

test("without a handler a command is unknown, also after the handler was taken back", async (t) => {
  const { server, realtime } = await connected(t);
  await assert.rejects(realtime.call("act"), { code: "UNKNOWN_TYPE" });
  const off = server.handle("act", () => 1);
  const other = server.handle("act", () => 2);
  off();
  assert.equal(await realtime.call("act"), 2);
  server.refuse("act", "FORBIDDEN");
  await assert.rejects(realtime.call("act"), { code: "FORBIDDEN" });
  other();
  await assert.rejects(realtime.call("act"), { code: "UNKNOWN_TYPE" });
  assert.throws(() => server.handle("subscribe", () => {}), TypeError);
});

test("a command that comes again is carried out once, over a lost connection", async (t) => {
  const { server, realtime } = await connected(t);
  const { calls, handler } = slowHandler();
  server.handle("act", handler);
  await realtime.subscribe("a");
  const answer = realtime.call("act", { n: 1 }, { room: "a" });
  await turn();
  server.drop();
  await server.recover();
  await turn();
  assert.equal(server.sentOf("act").length, 2);
  assert.equal(calls.length, 1);
  calls[0].resolve("once");
  assert.equal(await answer, "once");

  const [, { id }] = server.sentOf("act");
  const again = new Promise((resolve) => realtime.once("result", resolve));
  realtime.send({ type: "act", room: "a", payload: { n: 1 }, id });
  assert.equal((await again).payload, "once");
  assert.equal(calls.length, 1);
});

test("a refusal is not remembered", async (t) => {
  const { server, realtime } = await connected(t);
  const { calls, handler } = slowHandler();
  server.handle("act", handler);
  const answer = realtime.call("act", 1);
  await turn();
  server.close();
  await new Promise((resolve) => realtime.once(":open", resolve));
  calls[0].reject({ code: "BUSY" });
  await turn();
  assert.equal(calls.length, 2);
  calls[1].resolve("free");
  assert.equal(await answer, "free");
});

test("commands for one room keep their order, others run side by side", async (t) => {
  const { server, realtime } = await connected(t);
  const { calls, handler } = slowHandler();
  server.handle("act", handler);
  for (const room of ["a", "b"]) await realtime.subscribe(room);
  const answers = [
    realtime.call("act", 1, { room: "a" }),
    realtime.call("act", 2, { room: "a" }),
    realtime.call("act", 3, { room: "b" }),
    realtime.call("act", 4),
    realtime.call("act", { room: "a" }),
  ];
  const sent = realtime.sendToRoom("a", "after them");
  await turn();
  const running = () => calls.map(({ payload }) => payload);
  assert.deepEqual(running(), [1, 3, 4, { room: "a" }]);
  calls[0].resolve();
  await turn();
  assert.deepEqual(running().slice(4), [2]);
  assert.equal(await Promise.race([sent.then(() => "sent"), turn()]), undefined);
  for (const { resolve } of calls) resolve();
  await sent;
  await Promise.all(answers);
});

test("a volatile message reaches the other connections, and is not stored", async (t) => {
  const { server, realtime, others: [other] } = await connected(t, { userId: 5, name: "Ada" }, 2);
  const seen = [];
  for (const [name, client] of [["own", realtime], ["other", other]]) {
    client.on("message", ({ id, timestamp, ...rest }) => seen.push([name, id, rest]));
    await client.subscribe("a");
  }
  assert.equal(await realtime.sendToRoom("a", { x: 1 }, { volatile: true }), undefined);
  await turn();
  const from = { userId: 5, name: "Ada" };
  const payload = { room: "a", content: { x: 1 }, from, volatile: true };
  assert.deepEqual(seen, [["other", undefined, { type: "message", payload, room: "a" }]]);
  server.push("message", payload, { room: "a" });
  assert.deepEqual(seen.slice(1).map(([name, , { cursor }]) => [name, cursor]), [["own", undefined], ["other", undefined]]);
  const { cursor } = await realtime.sendToRoom("a", "kept", { volatile: false });
  assert.ok(cursor);
  await other.unsubscribe("a");
  seen.length = 0;
  await other.subscribe("a", { last: 10 });
  await turn();
  assert.deepEqual(seen.map(([name, , envelope]) => [name, envelope.payload.content]), [["other", "kept"]]);
});

test("a volatile message is refused without an id", async (t) => {
  const { server, realtime } = await connected(t);
  const errors = [];
  realtime.on("error", ({ id, payload: { code, room, path } }) => errors.push([id, code, room, path]));
  await realtime.sendToRoom("a", 1, { volatile: true });
  await turn();
  await realtime.subscribe("a");
  server.last.socket.send(JSON.stringify({ type: "message", payload: { room: "a", content: 1, volatile: "yes" }, timestamp: 1 }));
  await turn();
  assert.deepEqual(errors, [
    [undefined, "NOT_IN_ROOM", "a", undefined],
    [undefined, "INVALID_PAYLOAD", "a", "volatile"],
  ]);
});
