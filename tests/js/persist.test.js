/** The next page of a tab goes on where the last one stopped. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createRealtime } from "../../pm_realtime/browser/client.js";
import { fakePage } from "./fake_page.js";
import { fakeWebSocket, settled } from "./fake_socket.js";
import { at } from "./streams.js";

const URL_ = "ws://site.test/ws";
const HOUR_MS = 3_600_000;

/** The storage of a tab. A copy has what it has now. */
function fakeStorage(entries = {}) {
  const items = new Map(Object.entries(entries));
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, text) => void items.set(key, text),
    copy: () => fakeStorage(Object.fromEntries(items)),
    get size() {
      return items.size;
    },
  };
}

/** A tab; `open()` loads a page with a client, `turnTo(storage)` looks at another tab. */
function fakeTab(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_700_000_000_000 });
  const page = fakePage(t);
  globalThis.sessionStorage = fakeStorage();
  t.after(() => delete globalThis.sessionStorage);
  let count = 0;

  function open(options = {}) {
    const WebSocket = fakeWebSocket();
    const realtime = createRealtime({ url: URL_, WebSocket, ...options });
    const seen = [];
    realtime.on("news", ({ payload }) => seen.push(payload));
    realtime.connect();
    const found = () => Object.fromEntries(new URL(WebSocket.last.url).searchParams);
    return {
      WebSocket,
      realtime,
      seen,
      accept(payload) {
        count += 1;
        WebSocket.last.accept({ connectionId: `c${count}`, heartbeatInterval: 0, ...payload });
      },
      news(number, stream = { to: "user" }) {
        WebSocket.last.frame("news", number, { cursor: at(number), ...stream });
      },
      grant(payload) {
        WebSocket.last.reply(WebSocket.last.lastSent, "subscribed", { room: "a", success: true, ...payload });
      },
      query: () => ({ ...found(), ...(found().since && { since: JSON.parse(found().since) }) }),
      /** The user leaves the page, which then is gone. */
      leave() {
        page.window("pagehide", { persisted: false });
        WebSocket.last.close();
        realtime.disconnect();
      },
    };
  }

  return { page, open, turnTo: (storage) => (globalThis.sessionStorage = storage) };
}

test("the next page goes on where the last one stopped, with its user and connections", async (t) => {
  const { open } = fakeTab(t);
  const first = open();
  assert.equal(first.WebSocket.last.url, URL_);
  first.accept({ cursors: { user: at(1), all: at(1) } });
  first.news(2);
  await settled();
  first.leave();
  const second = open();
  assert.deepEqual(second.query(), { resume: "c1", since: { user: at(2), all: at(1) }, user: "7" });
  second.accept({ cursors: { user: at(2), all: at(1) }, recovered: true });
  assert.equal(second.realtime.userId, 7);
  second.news(2);
  second.news(3);
  assert.deepEqual(second.seen, [3]);
  second.leave();
  assert.deepEqual(open().query(), { resume: "c2,c1", since: { user: at(3), all: at(1) }, user: "7" });
});

test("a page that crashes has written what it has shown, and leaves its connection alone", async (t) => {
  const { open } = fakeTab(t);
  const first = open();
  first.accept({ cursors: { user: at(1) } });
  first.WebSocket.last.text(
    JSON.stringify([2, 3].map((n) => ({ type: "news", payload: n, to: "user", cursor: at(n) }))),
  );
  await settled();
  assert.deepEqual(open().query(), { resume: "-,c1", since: { user: at(3) }, user: "7" });
});

test("a copy of a tab goes on from it, and takes no connection from it", async (t) => {
  const { open, turnTo } = fakeTab(t);
  const original = open();
  original.accept({ cursors: { user: at(1) } });
  await settled();
  turnTo(globalThis.sessionStorage.copy());
  const copy = open();
  assert.equal(copy.query().resume, "-,c1");
  copy.accept({ cursors: { user: at(1) }, recovered: true });
  copy.WebSocket.last.close();
  t.mock.timers.tick(1000);
  assert.equal(copy.query().resume, "c2,c1");
});

test("a handler that is running has not been called yet", async (t) => {
  const { open } = fakeTab(t);
  const first = open();
  first.accept({ cursors: { user: at(1) } });
  await settled();
  let written;
  first.realtime.on("news", () => {
    written = open({ persist: "own" }).query().since;
  });
  first.news(2);
  assert.deepEqual(written, { user: at(1) });
  await settled();
  assert.deepEqual(open().query().since, { user: at(2) });
});

test("rooms start anew on the next page, with `all` they go on as well", async (t) => {
  for (const [persist, expected] of [["own", undefined], ["all", at(11)]]) {
    const { open } = fakeTab(t);
    const first = open({ persist });
    first.accept({ cursors: { user: at(1) } });
    first.realtime.subscribe("a");
    first.grant({ cursor: at(10) });
    first.news(11, { room: "a" });
    await settled();
    first.leave();
    const between = open({ persist });
    between.accept({ cursors: { user: at(1) } });
    between.leave();
    const second = open({ persist });
    second.accept({ cursors: { user: at(1) } });
    second.realtime.subscribe("a");
    assert.equal(second.WebSocket.last.lastSent.payload.since, expected);
    second.grant({ cursor: at(11), recovered: true });
    second.realtime.unsubscribe("a");
    second.leave();
    const third = open({ persist });
    third.accept({ cursors: { user: at(1) } });
    third.realtime.subscribe("a");
    assert.equal(third.WebSocket.last.lastSent.payload.since, undefined);
    third.leave();
    t.mock.timers.reset();
  }
});

test("persist: false keeps nothing", async (t) => {
  const { open } = fakeTab(t);
  const first = open({ persist: false });
  first.accept({ cursors: { user: at(1) } });
  await settled();
  first.leave();
  assert.equal(globalThis.sessionStorage.size, 0);
  assert.equal(open({ persist: false }).WebSocket.last.url, URL_);
});

test("what is old, of another address or not readable is ignored", async (t) => {
  const { open, turnTo } = fakeTab(t);
  const first = open();
  first.accept({ cursors: { user: at(1) } });
  await settled();
  first.leave();
  assert.equal(open({ url: "ws://site.test/other" }).WebSocket.last.url, "ws://site.test/other");
  for (const text of ["", "5", "null", "[]", "{}", '{"at":1e15}', '{"at":1e15,"own":5,"ids":1}']) {
    turnTo(fakeStorage({ [`pm_realtime ${URL_}`]: text }));
    assert.equal(open().WebSocket.last.url, URL_, text);
  }
});

test("a tab that was left for an hour starts anew", async (t) => {
  const { open } = fakeTab(t);
  const first = open();
  first.accept({ cursors: { user: at(1) } });
  await settled();
  t.mock.timers.setTime(Date.now() + 2 * HOUR_MS);
  first.leave();
  t.mock.timers.setTime(Date.now() + HOUR_MS - 1);
  const second = open();
  assert.deepEqual(second.query().since, { user: at(1) }, "it was open until then");
  t.mock.timers.setTime(Date.now() + 1);
  assert.equal(open().WebSocket.last.url, URL_);
});

test("a browser without storage for the page works without", async (t) => {
  const { open, turnTo } = fakeTab(t);
  const refuse = () => {
    throw new DOMException("Refused.", "SecurityError");
  };
  for (const storage of [undefined, { getItem: refuse, setItem: refuse }, { getItem: () => null, setItem: refuse }]) {
    turnTo(storage);
    const first = open();
    first.accept({ cursors: { user: at(1) } });
    first.news(2);
    await settled();
    first.leave();
    assert.deepEqual(first.seen, [2]);
    assert.equal(open().WebSocket.last.url, URL_);
  }
});

test("the next page of another user starts anew", async (t) => {
  const { open } = fakeTab(t);
  const first = open({ persist: "all" });
  first.accept({ cursors: { user: at(10) } });
  first.realtime.subscribe("a");
  first.grant({ cursor: at(10) });
  await settled();
  first.leave();
  const second = open({ persist: "all" });
  second.realtime.subscribe("a");
  const queued = second.realtime.send({ type: "mine" });
  second.accept({ userId: 8, cursors: { user: at(2) }, recovered: false });
  await queued;
  assert.deepEqual(second.WebSocket.last.sent.map(({ type, payload }) => [type, payload]), [
    ["subscribe", { room: "a" }],
    ["mine", undefined],
  ]);
  second.news(3);
  assert.deepEqual(second.seen, [3]);
  second.leave();
  assert.deepEqual(open().query(), { resume: "c2", since: { user: at(3) }, user: "8" });
});

test("a page that comes back from the back-forward cache goes on after the other pages", async (t) => {
  const { page, open } = fakeTab(t);
  const first = open();
  first.accept({ cursors: { user: at(1) } });
  first.realtime.subscribe("a");
  first.grant({ cursor: at(20) });
  page.window("pagehide", { persisted: true });
  const second = open();
  second.accept({ cursors: { user: at(1) }, recovered: true });
  second.news(2);
  await settled();
  second.leave();
  page.window("pageshow", { persisted: true });
  assert.deepEqual(first.query(), { resume: "c2,c1", since: { user: at(2) }, user: "7" });
  first.accept({ cursors: { user: at(2) }, recovered: true });
  assert.equal(first.WebSocket.last.lastSent.payload.since, at(20), "its rooms go on where it was");
});

test("outside a page nothing is kept", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  globalThis.sessionStorage = fakeStorage();
  t.after(() => delete globalThis.sessionStorage);
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: URL_, WebSocket });
  realtime.connect();
  WebSocket.last.accept({ cursors: { user: at(1) } });
  assert.equal(globalThis.sessionStorage.size, 0);
});

test("a frame of the page has a position of its own, which it hands to its next page", async (t) => {
  const { open } = fakeTab(t);
  const top = open();
  top.accept({ cursors: { user: at(1) } });
  await settled();
  t.after(() => delete globalThis.frameElement);
  globalThis.frameElement = {};
  const frame = open();
  assert.equal(frame.WebSocket.last.url, URL_);
  frame.accept({ cursors: { user: at(5) } });
  await settled();
  delete globalThis.frameElement;
  assert.deepEqual(open().query().since, { user: at(1) });
  globalThis.frameElement = {};
  assert.deepEqual(open().query().since, { user: at(5) });
});

test("a tab that has been in many rooms keeps the positions of the last hundred", async (t) => {
  const { open } = fakeTab(t);
  for (let number = 0; number < 150; number += 1) {
    const page = open({ persist: "all" });
    page.accept({ cursors: { user: at(1) } });
    page.realtime.subscribe(`room ${number}`);
    page.grant({ room: `room ${number}`, cursor: at(number) });
    await settled();
    page.leave();
  }
  const last = open({ persist: "all" });
  last.accept({ cursors: { user: at(1) } });
  for (const [number, expected] of [[49, undefined], [50, at(50)], [149, at(149)]]) {
    last.realtime.subscribe(`room ${number}`);
    assert.equal(last.WebSocket.last.lastSent.payload.since, expected);
  }
});
