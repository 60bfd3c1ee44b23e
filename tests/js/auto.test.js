/** The start of the page's client by its tag, through auto.js, in stubs with a fake server. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createFakeServer } from "../../pm_realtime/static/pm_realtime_testing/testing.js";
import { block, turn } from "./documents.js";

const MODULE = "../../pm_realtime/browser/auto.js";
const KEY = Symbol.for("pm_realtime");
let pages = 0;

/** Loads the module as a new page does, with these options in the tag; null for no tag. */
async function load(t, options, { readyState = "interactive", before = () => {} } = {}) {
  const server = createFakeServer().install();
  const window = new EventTarget();
  const tag = options && { dataset: { pmRealtime: JSON.stringify(options) } };
  const document = Object.assign(new EventTarget(), {
    readyState,
    visibilityState: "visible",
    querySelector: (selector) => (selector === "script[data-pm-realtime]" ? tag : null),
  });
  Object.assign(globalThis, {
    window,
    document,
    location: { href: "https://site.test/page/" },
    addEventListener: window.addEventListener.bind(window),
    removeEventListener: window.removeEventListener.bind(window),
  });
  delete globalThis[KEY];
  before(document, window);
  pages += 1;
  const { realtime } = await import(`${MODULE}?page=${pages}`);
  t.after(() => {
    realtime.disconnect();
    server.close(4503);
    server.uninstall();
    const names = ["window", "document", "location", "addEventListener", "removeEventListener"];
    for (const name of [...names, KEY]) delete globalThis[name];
  });
  await turn();
  return { server, realtime, window, document };
}

test("creates the page's client with the tag's options and does not connect", async (t) => {
  const { server, realtime, window } = await load(t, { url: "/live" });
  assert.equal(window.realtime, realtime);
  assert.equal(server.connections.length, 0);
  realtime.connect();
  assert.equal(server.last.url, "wss://site.test/live");
});

test("uses the default options without a tag", async (t) => {
  const { server, realtime } = await load(t, null);
  realtime.connect();
  assert.equal(server.last.url, "wss://site.test/api/ws");
});

test("creates one client if the file is loaded under two names", async (t) => {
  const { realtime } = await load(t, {});
  const again = await import(`${MODULE}?page=again`);
  assert.equal(again.realtime, realtime);
});

test("connects after the page's other modules have run", async (t) => {
  const { server, document, window } = await load(t, { autoConnect: true });
  assert.equal(server.connections.length, 0);
  document.dispatchEvent(new Event("DOMContentLoaded"));
  assert.equal(server.connections.length, 1);
  window.realtime.disconnect();
  window.dispatchEvent(new Event("load"));
  assert.equal(server.connections.length, 1, "once");
});

test("connects at once in a page that has loaded", async (t) => {
  const { server } = await load(t, { autoConnect: true }, { readyState: "complete" });
  assert.equal(server.connections.length, 1);
});

test("null means an unlimited number of attempts", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  t.mock.method(Math, "random", () => 0);
  const options = { autoConnect: true, maxReconnectAttempts: null };
  const { server, realtime } = await load(t, options, { readyState: "complete" });
  server.goDown();
  for (let attempt = 0; attempt < 8; attempt += 1) {
    t.mock.timers.tick(30_000);
    await turn();
  }
  assert.equal(realtime.status, "waiting");
  assert.ok(server.connections.length > 7);
});

for (const position of ["above", "below"]) {
  test(`the documented line ${position} the tag gets the client`, async (t) => {
    const said = [];
    t.mock.method(console, "log", (...words) => said.push(words.join(" ")));
    const code = new Function("window", block("docs/client.md", "example: ready"));
    const before = position === "above" ? (_, window) => code(window) : undefined;
    const page = await load(t, { autoConnect: true }, { readyState: "complete", before });
    if (position === "below") code(page.window);
    await turn();
    page.server.push("notification", { title: "Hello" });
    assert.deepEqual(said, ["Hello"]);
  });
}

test("handlers that wait are called before the page connects", async (t) => {
  const statuses = [];
  const before = (_, window) => {
    window.realtimeReady = [
      (realtime) => realtime.on(":status", ({ status }) => statuses.push(status)),
    ];
  };
  await load(t, { autoConnect: true }, { readyState: "complete", before });
  assert.deepEqual(statuses, ["connecting", "connected"]);
});

test("the promise and the event have the client", async (t) => {
  const said = [];
  const before = (document) =>
    document.addEventListener("realtime:ready", ({ detail }) => said.push(detail));
  const { realtime, window } = await load(t, {}, { before });
  assert.equal(await window.realtimeReady, realtime);
  assert.deepEqual(said, [realtime]);
});

test("the client's own module starts it, once, also before the parser has come to the tag", async (t) => {
  const { startFromTag } = await import("../../pm_realtime/browser/core/singleton.js");
  const { createRealtime } = await import("../../pm_realtime/browser/client.js");
  const found = await load(t, null, { readyState: "loading" });
  const { server, document, window } = found;
  delete window.realtimeReady;
  delete globalThis[KEY];
  const seen = [];
  document.addEventListener("realtime:ready", ({ detail }) => seen.push(detail));
  startFromTag(createRealtime);
  assert.deepEqual(seen, []);
  const tag = { dataset: { pmRealtime: '{"url": "/live", "autoConnect": true}' } };
  document.querySelector = () => tag;
  document.dispatchEvent(new Event("DOMContentLoaded"));
  await turn();
  startFromTag(createRealtime);
  assert.deepEqual(seen, [window.realtime]);
  assert.equal(server.connections.length, 1);
  assert.equal(server.last.url, "wss://site.test/live");
  window.realtime.disconnect();
});
