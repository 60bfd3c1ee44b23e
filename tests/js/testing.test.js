import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { createFakeServer } from "../../pm_realtime/static/pm_realtime_testing/testing.js";
import { scenarios } from "./recovery_contract.js";

function setup(options) {
  const server = createFakeServer(options);
  const realtime = createRealtime({
    url: "ws://site.test/",
    WebSocket: server.WebSocket,
    reconnectDelay: 1,
  });
  return { server, realtime };
}

const event = (realtime, name) => new Promise((resolve) => realtime.once(name, resolve));

async function connected(options) {
  const parts = setup(options);
  parts.realtime.connect();
  await event(parts.realtime, ":open");
  return parts;
}

test("accepts, answers and echoes as the real server does", async () => {
  const { server, realtime } = await connected({ userId: 5, name: "Ada", role: "editor" });
  assert.deepEqual([realtime.userId, realtime.role], [5, "editor"]);
  const seen = [];
  realtime.on("message", ({ payload, room }) => seen.push([room, payload.content]));
  assert.equal((await realtime.subscribe("a")).payload.room, "a");
  const { payload } = await realtime.sendToRoom("a", "hi");
  assert.deepEqual(payload, { room: "a", content: "hi", from: { userId: 5, name: "Ada" } });
  assert.deepEqual(seen, [["a", "hi"]]);
  assert.ok((await realtime.ping()) >= 0);
  await realtime.unsubscribe("a");
  await assert.rejects(realtime.sendToRoom("a", "again"), { code: "NOT_IN_ROOM" });
  assert.deepEqual(server.sent.map(({ type }) => type), [
    "subscribe", "message", "ping", "unsubscribe", "message",
  ]);
  assert.equal(server.sentOf("message").length, 2);
  const errors = [];
  realtime.on("error", ({ payload: { code } }) => errors.push(code));
  await realtime.sendMessage("mine", 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(errors, ["UNKNOWN_TYPE"]);
  realtime.disconnect();
});

test("push() reaches all connections, or those in the room", async () => {
  const { server, realtime } = await connected();
  const seen = [];
  realtime.on("*", ({ type, room }) => seen.push([type, room]));
  server.push("news", 1);
  server.push("news", 2, { room: "a" });
  await realtime.subscribe("a");
  server.push("news", 3, { room: "a" });
  assert.deepEqual(seen, [["news", undefined], ["subscribed", undefined], ["news", "a"]]);
  realtime.disconnect();
});

test("refuse() refuses one command, with code and details", async () => {
  const { server, realtime } = await connected();
  server.refuse("subscribe", "RATE_LIMITED", { retryAfter: 5 });
  await assert.rejects(realtime.subscribe("a"), { code: "RATE_LIMITED", retryAfter: 5 });
  await realtime.subscribe("a");
  realtime.disconnect();
});

test("goDown() refuses connections until comeBack()", async () => {
  const { server, realtime } = await connected();
  await realtime.subscribe("a");
  server.goDown(4012);
  assert.equal(realtime.connected, false);
  await event(realtime, ":close");
  assert.equal(realtime.connected, false);
  server.comeBack();
  await event(realtime, ":open");
  await realtime.sendToRoom("a", "in the room again");
  assert.ok(server.connections.length >= 3);
  realtime.disconnect();
  assert.equal(server.last.closedWith, 1000);
});

test("close() has a code, and logIn() changes the next connection's user", async () => {
  const { server, realtime } = await connected();
  server.close(4501);
  assert.deepEqual([realtime.status, realtime.closeCode], ["stopped", 4501]);
  server.logIn({ userId: null });
  realtime.connect();
  await event(realtime, ":open");
  assert.deepEqual([realtime.userId, realtime.role], [null, null]);
  await realtime.subscribe("a");
  assert.equal((await realtime.sendToRoom("a", 1)).payload.from, undefined);
  realtime.disconnect();
});

test("with automatic: false it does nothing by itself", async () => {
  const { server, realtime } = setup({ automatic: false });
  realtime.connect();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(realtime.status, "connecting");
  server.last.accept();
  const joined = realtime.subscribe("a");
  server.last.reply(server.last.lastSent, "subscribed", { room: "a", success: true });
  await joined;
  realtime.disconnect();
});

test("install() replaces the global WebSocket until uninstall()", async () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  const server = createFakeServer().install();
  const realtime = createRealtime({ url: "ws://site.test/" });
  realtime.connect();
  await event(realtime, ":open");
  realtime.disconnect();
  server.uninstall();
  assert.deepEqual(Object.getOwnPropertyDescriptor(globalThis, "WebSocket"), before);
});

test("one uninstall() undoes two install()", () => {
  const { WebSocket } = globalThis;
  const server = createFakeServer();
  server.install().install();
  assert.equal(globalThis.WebSocket, server.WebSocket);
  server.uninstall();
  assert.equal(globalThis.WebSocket, WebSocket);
});

for (const [name, run] of Object.entries(scenarios)) {
  test(`as the real server: ${name}`, async () => {
    const server = createFakeServer();
    const push = (target, n) => server.push("pushed", { n }, target);
    await run({ url: "ws://site.test/", WebSocket: server.WebSocket, push });
  });
}

/** A client of the server, which keeps what was pushed and what it was told. */
async function listening(server, ...rooms) {
  const realtime = createRealtime({
    url: "ws://site.test/",
    WebSocket: server.WebSocket,
    reconnectDelay: 1,
  });
  const heard = [];
  for (const type of ["pushed", "message"]) {
    realtime.on(type, ({ payload }) => heard.push(payload.content ?? payload));
  }
  realtime.on(":gap", (stream) => heard.push(stream));
  realtime.connect();
  await Promise.all(rooms.map((room) => realtime.subscribe(room)));
  return { realtime, heard };
}

test("what is pushed after drop() arrives once after recover()", async () => {
  const server = createFakeServer();
  const { realtime, heard } = await listening(server, "a");
  server.push("pushed", 1, { room: "a" });
  server.drop();
  assert.equal(realtime.connected, false);
  server.push("pushed", 2, { room: "a" });
  for (const to of ["user", "all", "role:user", "role:admin"]) server.push("pushed", to, { to });
  const opened = event(realtime, ":open");
  const connection = await server.recover();
  assert.equal(connection, server.last);
  assert.equal((await opened).recovered, true);
  server.push("pushed", 3, { room: "a" });
  assert.deepEqual(heard, [1, "user", "all", "role:user", 2, 3]);
  realtime.disconnect();
});

test("connections hang after drop(), and are accepted at once by recover()", async () => {
  const server = createFakeServer();
  const { realtime } = await listening(server);
  server.drop();
  await event(realtime, ":status");
  assert.deepEqual([realtime.status, server.last.open], ["connecting", false]);
  await server.recover();
  assert.equal(server.connections.length, 2);
  assert.equal(realtime.connected, true);
  realtime.disconnect();
});

test("after forgetHistory() clients are told of a gap in each stream, once", async () => {
  const server = createFakeServer();
  const { realtime, heard } = await listening(server, "a");
  server.drop();
  server.push("pushed", 1, { room: "a" });
  server.forgetHistory();
  server.push("pushed", 2, { room: "a" });
  const opened = event(realtime, ":open");
  await server.recover();
  assert.equal((await opened).recovered, false);
  assert.deepEqual(heard, [{ to: "user" }, { to: "all" }, { to: "role:user" }, { room: "a" }, 2]);
  server.drop();
  await server.recover();
  assert.equal(heard.length, 5);
  realtime.disconnect();
});

test("only the messages that `history` counts are kept", async () => {
  const server = createFakeServer({ history: 2 });
  const { realtime, heard } = await listening(server, "a");
  server.drop();
  for (const n of [1, 2, 3]) server.push("pushed", n, { room: "a" });
  await server.recover();
  assert.deepEqual(heard, [{ room: "a" }, 2, 3]);
  realtime.disconnect();
});

test("a message whose answer is lost is in the room once, and its promise resolves", async () => {
  const server = createFakeServer();
  const { realtime, heard } = await listening(server, "a");
  const answer = realtime.sendToRoom("a", "hi");
  server.drop();
  await server.recover();
  await answer;
  assert.equal(server.sentOf("message").length, 2);
  assert.deepEqual(heard, ["hi"]);
  realtime.disconnect();
});

test("push() leaves out the connection that it excludes, also after a break", async () => {
  const server = createFakeServer();
  const { realtime, heard } = await listening(server, "a");
  const exclude = realtime.connectionId;
  server.push("pushed", 1, { room: "a", exclude });
  server.drop();
  server.push("pushed", 2, { exclude });
  server.push("pushed", 3);
  await server.recover();
  assert.deepEqual(heard, [3]);
  realtime.disconnect();
});

test("another user gets nothing of the one that was logged in", async () => {
  const server = createFakeServer();
  const { realtime, heard } = await listening(server);
  server.drop();
  server.push("pushed", 1);
  server.logIn({ userId: 2 });
  await server.recover();
  server.push("pushed", 2);
  assert.deepEqual(heard, [2]);
  realtime.disconnect();
});
