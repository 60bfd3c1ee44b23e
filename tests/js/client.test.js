import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime, MAX_QUEUED } from "../../pm_realtime/browser/client.js";
import { fakePage } from "./fake_page.js";
import { fakeWebSocket } from "./fake_socket.js";

const URL_ = "ws://site.test/api/ws";

function setup(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_700_000_000_000 });
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: URL_, WebSocket, ...options });
  return { WebSocket, realtime, tick: (ms) => t.mock.timers.tick(ms) };
}

function connected(t, options) {
  const parts = setup(t, options);
  parts.realtime.connect();
  parts.WebSocket.last.accept();
  return parts;
}

test("connects on connect(), or at once with autoConnect", (t) => {
  const { WebSocket } = setup(t);
  assert.equal(WebSocket.all.length, 0);
  createRealtime({ url: URL_, WebSocket, autoConnect: true });
  assert.equal(WebSocket.last.url, `${URL_}`);
});

test("knows its user from the connected frame until the connection ends", (t) => {
  const { WebSocket, realtime } = setup(t);
  realtime.connect();
  assert.deepEqual([realtime.connected, realtime.userId, realtime.status], [false, null, "connecting"]);
  WebSocket.last.accept();
  assert.equal(realtime.connected, true);
  assert.deepEqual([realtime.connectionId, realtime.userId, realtime.role], ["fake-1", 7, "editor"]);
  WebSocket.last.close();
  assert.deepEqual([realtime.connectionId, realtime.userId, realtime.role], [null, null, null]);
});

test("resolves a path on the page's host, to ws for http and wss for https", (t) => {
  t.after(() => delete globalThis.location);
  const { WebSocket } = setup(t);
  for (const [page, url, expected] of [
    ["http://site.test:8000/a/b", undefined, "ws://site.test:8000/api/ws"],
    ["https://site.test/", undefined, "wss://site.test/api/ws"],
    ["https://site.test/", "/other", "wss://site.test/other"],
    ["https://site.test/", "http://elsewhere.test/x?y=%20", "ws://elsewhere.test/x?y=%20"],
  ]) {
    globalThis.location = { href: page };
    createRealtime({ url, WebSocket }).connect();
    assert.equal(WebSocket.last.url, expected);
  }
});

test("connect() outside a page needs the option url", (t) => {
  const { WebSocket } = setup(t);
  for (const url of [undefined, "/api/ws"]) {
    assert.throws(() => createRealtime({ url, WebSocket }).connect(), /needs the option `url`/);
  }
  // A page that is rendered on a server.
  for (const url of [undefined, "/api/ws"]) {
    assert.equal(createRealtime({ url, WebSocket, autoConnect: true }).status, "stopped");
  }
});

test("connect() twice opens one socket", (t) => {
  const { WebSocket, realtime } = connected(t);
  realtime.connect();
  assert.equal(WebSocket.all.length, 1);
});

test("a path stays on the page's host in frames, pop-ups and under a <base>", (t) => {
  fakePage(t);
  t.after(() => {
    for (const name of ["location", "origin"]) delete globalThis[name];
  });
  const { WebSocket } = setup(t);
  const site = "https://site.test";
  const own = "wss://site.test/api/ws";
  for (const [name, href, origin, baseURI, url, expected] of [
    ["srcdoc", "about:srcdoc", site, `${site}/page/`, undefined, own],
    ["about:blank", "about:blank", site, `${site}/page/`, undefined, own],
    ["sandboxed srcdoc", "about:srcdoc", "null", `${site}/page/`, undefined, own],
    ["blob:", `blob:${site}/1-2-3`, site, `blob:${site}/1-2-3`, undefined, own],
    ["a <base> of a CDN", `${site}/page/`, site, "https://cdn.test/static/", undefined, own],
    ["srcdoc in such a page", "about:srcdoc", site, "https://cdn.test/static/", undefined, own],
    ["a <base> of the site", `${site}/page/`, site, `${site}/app/`, "live", "wss://site.test/app/live"],
    ["a relative path", `${site}/page/`, site, `${site}/page/`, "live", "wss://site.test/page/live"],
    ["an address", "about:blank", site, `${site}/page/`, "wss://other.test/x", "wss://other.test/x"],
    ["a worker of a blob:", `blob:${site}/1-2-3`, site, undefined, undefined, own],
  ]) {
    document.baseURI = baseURI;
    Object.assign(globalThis, { location: { href }, origin });
    const realtime = createRealtime({ url, WebSocket });
    realtime.connect();
    assert.equal(WebSocket.last.url, expected, name);
    realtime.disconnect();
  }
});

test("connect() without any WebSocket names the option", async (t) => {
  const had = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  delete globalThis.WebSocket;
  t.after(() => had && Object.defineProperty(globalThis, "WebSocket", had));
  assert.throws(() => createRealtime({ url: URL_ }).connect(), /the option `WebSocket`/);
  const shared = createRealtime({ url: URL_, shared: true });
  const closed = new Promise((resolve) => shared.on(":close", resolve));
  shared.connect();
  assert.match((await closed).reason, /the option `WebSocket`/);
});

test("an error event of the WebSocket class is handled", (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  // As with the package `ws`: an event without a listener is thrown.
  class Strict extends WebSocket {
    errorListeners = 0;

    addEventListener(type, ...rest) {
      this.errorListeners += type === "error";
      super.addEventListener(type, ...rest);
    }
  }
  const strict = createRealtime({ url: URL_, WebSocket: Strict });
  for (const [client, end] of [[strict, () => WebSocket.last.close()], [strict, () => strict.disconnect()]]) {
    client.connect();
    end();
    assert.equal(WebSocket.last.socket.errorListeners, 1);
    tick(1000);
  }
  realtime.disconnect();
});

test("only the first frame of a socket says who this is", (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  const seen = [];
  for (const type of ["connected", "*", ":open"]) realtime.on(type, () => seen.push(type));
  realtime.connect();
  WebSocket.last.accept();
  assert.deepEqual(seen.splice(0), [":open", "connected", "*"]);
  WebSocket.last.frame("connected", { userId: 99, connectionId: "false", role: "admin", heartbeatInterval: 1, heartbeatTimeout: 1 });
  WebSocket.last.frame("connected");
  assert.deepEqual([realtime.userId, realtime.connectionId, realtime.role], [7, "fake-1", "editor"]);
  assert.deepEqual(seen, []);
  tick(1000);
  assert.equal(WebSocket.last.sentOf("ping").length, 0);
  WebSocket.last.close();
  tick(1000);
  assert.match(WebSocket.last.url, /\?resume=fake-1&/);
  WebSocket.last.socket.readyState = 1;
  WebSocket.last.frame("news");
  WebSocket.last.frame("connected", { userId: 99, connectionId: "late" });
  assert.equal(realtime.connected, false);
});

test("frames of the protocol's own types do no harm when they come unasked", async (t) => {
  const { WebSocket, realtime } = connected(t);
  const socket = WebSocket.last;
  const joined = realtime.subscribe("a");
  const sent = realtime.sendToRoom("a", 1);
  const types = ["subscribed", "unsubscribed", "pong", "ping", "subscribe", "unsubscribe", "error"];
  for (const type of [...types, "ack", "gap", "result", "presence", "message", "__proto__"]) {
    for (const payload of [undefined, null, 5, "text", [], { room: null }, { room: "other" }, { code: 5 }]) {
      socket.frame(type, payload);
      socket.frame(type, payload, { id: "unknown", room: 5 });
    }
  }
  assert.deepEqual([realtime.connected, realtime.userId, realtime.rooms], [true, 7, ["a"]]);
  for (const command of socket.sent) {
    const type = command.type === "subscribe" ? "subscribed" : command.type;
    socket.reply(command, type, { room: "a", success: true, content: 1 });
  }
  assert.equal((await joined).payload.room, "a");
  assert.equal((await sent).payload.content, 1);
});

test("an envelope gets a timestamp and an id", (t) => {
  const { WebSocket, realtime } = connected(t);
  realtime.send({ type: "custom", payload: { a: 1 } });
  const { id, ...rest } = WebSocket.last.lastSent;
  assert.deepEqual(rest, { type: "custom", payload: { a: 1 }, timestamp: Date.now() });
  assert.match(id, /^[0-9a-f]{32}$/);
  realtime.send({ type: "custom", id: "mine", timestamp: 5 });
  assert.deepEqual(WebSocket.last.lastSent, { type: "custom", id: "mine", timestamp: 5 });
  realtime.sendMessage("custom", [1]);
  assert.deepEqual(WebSocket.last.lastSent.payload, [1]);
});

test("a reply matches by id and type", async (t) => {
  const { WebSocket, realtime } = connected(t);
  const socket = WebSocket.last;
  const sent = realtime.sendToRoom("support", { text: "hi" });
  const { id, type, payload } = socket.lastSent;
  assert.deepEqual([type, payload], ["message", { room: "support", content: { text: "hi" } }]);
  socket.frame("contact", {}, { id });
  socket.frame("message", { room: "support", content: "other" }, { id: "theirs" });
  socket.frame("message", { ...payload, from: { userId: 7, name: "Me" } }, { id, room: "support" });
  assert.equal((await sent).payload.from.name, "Me");
});

test("ping() resolves with the round trip in ms", async (t) => {
  const { WebSocket, realtime } = connected(t);
  let now = 100;
  t.mock.method(performance, "now", () => now);
  const ping = realtime.ping();
  now = 142.5;
  WebSocket.last.reply(WebSocket.last.lastSent, "pong");
  assert.equal(await ping, 42.5);
});

test("an error reply rejects with its code, room and retryAfter", async (t) => {
  const { WebSocket, realtime } = connected(t);
  const errors = [];
  realtime.on("error", (envelope) => errors.push(envelope.payload.code));
  const sent = realtime.sendToRoom("support", "x");
  WebSocket.last.refuse(WebSocket.last.lastSent, "RATE_LIMITED", { retryAfter: 1500, room: "support" });
  await assert.rejects(sent, (error) => {
    assert.ok(error instanceof Error);
    assert.deepEqual(
      [error.code, error.message, error.retryAfter, error.room],
      ["RATE_LIMITED", "Refused: RATE_LIMITED.", 1500, "support"],
    );
    return true;
  });
  assert.deepEqual(errors, ["RATE_LIMITED"]);
});

test("an ignored promise raises no unhandled rejection", async (t) => {
  const unhandled = [];
  const listener = (error) => unhandled.push(error);
  process.on("unhandledRejection", listener);
  t.after(() => process.off("unhandledRejection", listener));
  const { WebSocket, realtime } = connected(t);
  const socket = WebSocket.last;
  realtime.subscribe("a");
  socket.refuse(socket.lastSent, "FORBIDDEN");
  realtime.sendToRoom("a", 1);
  socket.refuse(socket.lastSent, "NOT_IN_ROOM");
  realtime.ping();
  realtime.unsubscribe("b");
  realtime.disconnect();
  realtime.ping();
  realtime.sendToRoom("a", 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(unhandled, []);
});

test("a command without a reply times out, and a late reply is ignored", async (t) => {
  const { WebSocket, realtime, tick } = connected(t);
  const sent = realtime.sendToRoom("a", 1);
  const command = WebSocket.last.lastSent;
  tick(15_000);
  await assert.rejects(sent, { code: "TIMEOUT" });
  WebSocket.last.reply(command, "message", command.payload);
});

test("a lost connection rejects sent commands and keeps queued ones", async (t) => {
  const { WebSocket, realtime, tick } = connected(t);
  const lost = realtime.sendToRoom("a", "out");
  WebSocket.last.close();
  const kept = realtime.sendToRoom("a", "waits");
  await assert.rejects(lost, { code: "CONNECTION_LOST" });
  tick(1000);
  WebSocket.last.accept();
  const [command] = WebSocket.last.sentOf("message");
  assert.equal(command.payload.content, "waits");
  WebSocket.last.reply(command, "message", command.payload);
  assert.equal((await kept).payload.content, "waits");
});

test("a queued command does not time out before it is sent", async (t) => {
  const { WebSocket, realtime, tick } = setup(t);
  const sent = realtime.sendToRoom("a", 1);
  tick(60_000);
  realtime.connect();
  WebSocket.last.accept();
  const command = WebSocket.last.lastSent;
  tick(14_000);
  WebSocket.last.reply(command, "message", command.payload);
  assert.equal((await sent).payload.content, 1);
});

test("a full queue rejects its oldest message", async (t) => {
  const { WebSocket, realtime } = setup(t);
  const first = realtime.sendToRoom("a", 0);
  const all = Array.from({ length: MAX_QUEUED }, (_, index) => realtime.sendMessage("a", index));
  await assert.rejects(first, { code: "QUEUE_FULL" });
  realtime.sendMessage("a", "newest");
  await assert.rejects(all[0], { code: "QUEUE_FULL" });
  realtime.connect();
  WebSocket.last.accept();
  await Promise.all(all.slice(1));
  assert.deepEqual(
    WebSocket.last.sent.map(({ payload }) => payload),
    [...Array.from({ length: MAX_QUEUED - 1 }, (_, index) => index + 1), "newest"],
  );
});

test("everything is refused from disconnect() to connect()", async (t) => {
  const { WebSocket, realtime } = connected(t);
  const sent = realtime.sendToRoom("a", 1);
  realtime.disconnect();
  assert.equal(WebSocket.last.closedWith, 1000);
  await assert.rejects(sent, { code: "NOT_CONNECTED" });
  await assert.rejects(realtime.sendToRoom("a", 2), { code: "NOT_CONNECTED" });
  await assert.rejects(realtime.ping(), { code: "NOT_CONNECTED" });
  await assert.rejects(realtime.send({ type: "a" }), { code: "NOT_CONNECTED" });
  realtime.connect();
  WebSocket.last.accept();
  assert.deepEqual(WebSocket.last.sent, []);
  assert.equal(await realtime.send({ type: "a" }), undefined);
});

test("handlers get their own type, * gets every frame, events of the client only their own name", (t) => {
  const { WebSocket, realtime } = setup(t);
  const seen = [];
  for (const name of ["contact", "*", ":open", ":status"]) {
    realtime.on(name, (event) => seen.push([name, event.type ?? event.status ?? event.userId]));
  }
  realtime.connect();
  WebSocket.last.accept();
  WebSocket.last.frame("contact", { id: 1 });
  WebSocket.last.frame(":open", {});
  WebSocket.last.frame("*", {});
  assert.deepEqual(seen, [
    [":status", "connecting"],
    [":open", 7],
    [":status", "connected"],
    ["*", "connected"],
    ["contact", "contact"],
    ["*", "contact"],
    ["*", ":open"],
    ["*", "*"],
  ]);
});

test("frames that are not envelopes are ignored", (t) => {
  const { WebSocket, realtime } = connected(t);
  const seen = [];
  realtime.on("*", ({ type }) => seen.push(type));
  for (const text of ["", "{", "null", "1", "[]", '{"type": 1}', '"text"']) WebSocket.last.text(text);
  WebSocket.last.text(new Blob(["{}"]));
  WebSocket.last.frame("fine");
  assert.deepEqual(seen, ["fine"]);
});

test("MESSAGE_TOO_LARGE rejects the message that is too large, and no other", async (t) => {
  const { WebSocket, realtime } = connected(t);
  const small = realtime.sendToRoom("lobby", "é".repeat(20));
  const large = realtime.sendToRoom("lobby", "é".repeat(80));
  const message = "Expected a message of at most 200 bytes, got 201 or more.";
  WebSocket.last.frame("error", { code: "MESSAGE_TOO_LARGE", message });
  await assert.rejects(large, { code: "MESSAGE_TOO_LARGE", message });
  const { id } = WebSocket.last.sent.find(({ payload }) => payload?.content?.length === 20);
  WebSocket.last.frame("message", { room: "lobby", content: "" }, { id });
  assert.equal((await small).id, id);
});

test("other errors without an id reject nothing", async (t) => {
  const { WebSocket, realtime, tick } = connected(t);
  const sent = realtime.sendToRoom("lobby", "x");
  for (const payload of [{ code: "PARSE_ERROR", message: "at most 1" }, undefined, { code: "MESSAGE_TOO_LARGE" }]) {
    WebSocket.last.frame("error", payload);
  }
  tick(15_000);
  await assert.rejects(sent, { code: "TIMEOUT" });
});
